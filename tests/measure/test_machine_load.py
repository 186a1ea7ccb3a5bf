import subprocess
import sys

import psutil
import pytest

from trainyard.measure import machine_load

SPIN = "import time\nwhile time.process_time() < 0.5: pass"


def test_what_a_process_of_ours_takes_is_counted_as_the_machine_s_and_as_ours():
    before = machine_load._state()
    subprocess.run([sys.executable, "-c", SPIN], check=True)
    after = machine_load._state()
    assert after.own - before.own >= 0.5
    assert after.busy - before.busy >= 0.45  # the kernel counts hundredths


@pytest.mark.parametrize(
    ("busy", "own", "share"),
    [
        (0.0, 0.0, 0.0),
        (3.0, 3.0, 0.0),
        (3.0, 1.0, 0.5),  # two of the four seconds that two cores have
        (1.0, 1.01, 0.0),  # by rounding
        (9.0, 1.0, 1.0),
    ],
)
def test_the_share_of_others_is_what_the_machine_was_busy_with_less_ours(monkeypatch, busy, own, share):
    monkeypatch.setattr(psutil, "cpu_count", lambda: 2)
    monkeypatch.setattr(machine_load, "BEFORE_SECONDS", 0.0)
    states = iter(
        [
            machine_load._State(10, 100, 20),
            machine_load._State(11, 101.5, 20),
            machine_load._State(13, 101.5 + busy, 20 + own),
        ]
    )
    monkeypatch.setattr(machine_load, "_state", lambda: next(states))
    assert machine_load.OtherLoad().end() == {"before": 0.75, "during": share}
