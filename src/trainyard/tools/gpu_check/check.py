"""Takes a machine through its cases, continues where an earlier call stopped, and writes what came of them."""

import itertools
import os
import re
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from trainyard.core.files import write_json, write_text
from trainyard.core.repository import ROOT, describe_repository
from trainyard.core.text import utc_now
from trainyard.launch.signals import exit_on_signals
from trainyard.tools.gpu_check import ranks
from trainyard.tools.gpu_check.cases import Case, Cases, Choice, Kind
from trainyard.tools.gpu_check.facts import Facts
from trainyard.tools.gpu_check.state import State
from trainyard.tools.gpu_check.table import line, markdown, outcome
from trainyard.tools.gpu_check.verdict import judge_case

_LOGS = ROOT / "logs" / "gpu-check"
# Short cases of tiny models wait for imports most of the time; their speed is not asked for.
_AT_ONCE = 4


class Check:
    """One call.

    Args:
        facts: of the machine.
        choice: which cases.
        deadline: on the monotonic clock, after which nothing more is done.
        folder: where the results and the state lie.
        fresh: whether to forget what earlier calls have finished.
    """

    def __init__(self, facts: Facts, choice: Choice, deadline: float, folder: Path, fresh: bool) -> None:
        self.facts = facts
        self.cases = Cases(facts, choice).all()
        self.folder = folder
        self.name = _slug(facts)
        self.started = time.monotonic()
        self.deadline = deadline
        self.state = State(folder / f"gpu-check-{self.name}.state.jsonl", facts, fresh)
        self.stop = threading.Event()
        self._telling = threading.Lock()

    def run(self) -> int:
        """Do what is still to do, and write; 1 where something is not as it should be, else 0."""
        try:
            with exit_on_signals(self.stop.set):
                for kind, launches in itertools.groupby(list(self._remaining()), _kind_at_once):
                    if kind is None:
                        for cases in launches:
                            self._launch(cases)
                    else:
                        self._launch_at_once(list(launches))
        finally:
            self.stop.set()
            rows = self.rows()
            paths = self.write(rows)
        print(outcome(rows, paths, time.monotonic() - self.started))
        return int(any(row["right"] is False for row in rows))

    def rows(self) -> list[dict[str, Any]]:
        """The row of every case."""
        done = {case.name: row for case in self.cases if (row := self.state.get(case))}
        return [judge_case(case, done.get(case.name), done) for case in self.cases]

    def write(self, rows: Sequence[dict[str, Any]]) -> list[Path]:
        """Write the JSON and the Markdown file, named after the device and the day of the first case."""
        days = [row["at"][:10] for row in rows if "at" in row] or [utc_now()[:10]]
        content = {
            "device": self.facts.names,
            "date": utc_now(),
            "command": f"make gpu-check ARGS='{' '.join(sys.argv[1:])}'" if sys.argv[1:] else "make gpu-check",
            **describe_repository(),
            **asdict(self.facts),
            "cases": list(rows),
        }
        json_file = self.folder / f"gpu-check-{self.name}-{min(days)}.json"
        write_json(json_file, content)
        write_text(json_file.with_suffix(".md"), markdown(content))
        return [json_file, json_file.with_suffix(".md")]

    def _launch_at_once(self, launches: Sequence[Sequence[Case]]) -> None:
        """Launch several at once where there are the cores."""
        cores = _cores() // (2 * max(launch[0].specification["processes"] for launch in launches))
        with ThreadPoolExecutor(max(1, min(_AT_ONCE, cores))) as pool:
            try:
                list(pool.map(self._launch, launches))
            except BaseException:
                self.stop.set()
                pool.shutdown(cancel_futures=True)
                raise

    def _remaining(self) -> Iterator[list[Case]]:
        """The cases that are still to do, by launches."""
        left = [case for case in self.cases if case.unsupported is None]
        for _, together in itertools.groupby(left, key=lambda case: case.together):
            cases = [case for case in together if self.state.get(case) is None]
            if cases:
                yield cases

    def _launch(self, cases: Sequence[Case]) -> None:
        """Run cases of the same processes; what is left after one that failed goes to new processes."""
        left = {case.name: case for case in cases}
        while left and not self.stop.is_set() and time.monotonic() < self.deadline:
            specification = next(iter(left.values())).specification
            log = _LOGS / self.name / f"{_plain('-'.join(next(iter(left.values())).together))}.log"
            ending = ranks.run(
                [{"name": case.name, "specification": case.specification} for case in left.values()],
                specification["processes"],
                max(1, _cores() // specification["processes"]) if specification["device"] == "cuda" else 1,
                log,
                self.deadline,
                self.stop,
                lambda row: self._keep(left.pop(row["name"]), {"outcome": "finished", "reason": None, **row}),
            )
            if ending.kind in ("finished", "stopped"):
                return
            outcome = "out-of-memory" if ending.kind == "out-of-memory" else "failed"
            row = {"outcome": outcome, "reason": ending.reason, "log": str(log.relative_to(ROOT))}
            # before the first case it is the start that failed, as it would again
            for name in [ending.begun] if ending.begun else list(left):
                self._keep(left.pop(name), row)
            # what comes after is larger, or would take as long
            if ending.kind == "stalled" or (ending.kind == "out-of-memory" and specification["kind"] == "measure"):
                for name in list(left):
                    self._keep(
                        left.pop(name), {**row, "reason": f"not tried: {ending.begun} {_describe_ending(ending)}"}
                    )

    def _keep(self, case: Case, row: dict[str, Any]) -> None:
        with self._telling:
            self.state.add(case, {key: value for key, value in row.items() if key != "name"} | {"at": utc_now()})
            done = sum(self.state.get(each) is not None for each in self.cases)
            todo = sum(each.unsupported is None for each in self.cases)
            rows = {row["name"]: row for row in self.rows()}
            print(f"[{done:3d}/{todo}] {line(rows[case.name])}", flush=True)
            self.write(list(rows.values()))  # this call too may be killed


def _kind_at_once(launch: Sequence[Case]) -> Kind | None:
    """The kind of the cases of a launch beside which others of it may run: of tiny models, whose speed nobody asks."""
    first = launch[0]
    return first.kind if first.kind in ("reference", "parity") and not first.experiment else None


def _describe_ending(ending: ranks.Ending) -> str | None:
    return "ran out of memory" if ending.kind == "out-of-memory" else ending.reason


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")


def _slug(facts: Facts) -> str:
    """The device in a file's name: `tesla-t4`, `4x-nvidia-h200`, `cpu`."""
    if facts.device == "cpu":
        return "cpu"
    count = f"{len(facts.names)}x-" if len(facts.names) > 1 else ""
    return count + _plain(facts.names[0])
