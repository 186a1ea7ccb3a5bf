"""How much of this machine other processes used before and while a cell was measured."""

import resource
import time
from typing import NamedTuple

import psutil

BEFORE_SECONDS = 1.0


class _State(NamedTuple):
    """At one moment: the time, and the seconds of all cores that everything, and our processes, have taken."""

    time: float
    busy: float
    own: float


class OtherLoad:
    """Watches from its making on; first for a second, in which nothing of the cell runs yet."""

    def __init__(self) -> None:
        start = _state()
        time.sleep(BEFORE_SECONDS)
        self._begin = _state()
        self._before = _share(start, self._begin)

    def end(self) -> dict[str, float]:
        """The share of all cores that other processes used, `before` and `during`: 0 to 1.

        Our processes count from when they have ended and been waited for. Time that a hypervisor gave to other
        machines (steal) is others' too.
        """
        return {"before": self._before, "during": _share(self._begin, _state())}


def _state() -> _State:
    times = psutil.cpu_times()._asdict()
    busy = sum(times[name] for name in ("user", "nice", "system", "irq", "softirq", "steal") if name in times)
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return _State(time.monotonic(), busy, sum(usage.ru_utime + usage.ru_stime for usage in usages))


def _share(first: _State, last: _State) -> float:
    capacity = (last.time - first.time) * (psutil.cpu_count() or 1)
    others = (last.busy - first.busy) - (last.own - first.own)
    return min(1.0, max(0.0, others / capacity)) if capacity > 0 else 0.0
