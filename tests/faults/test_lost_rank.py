"""A rank that is stopped, and neither dies nor answers: the others end within a bounded time, and the run continues."""

import re
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
from kills import Life, ranks, said_by, same
from trainings import Job

from processes import assert_gone, below
from trainyard.core.timeouts import TIMEOUT
from trainyard.launch.launch import GRACE_SECONDS

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("forked_ranks")]

SECONDS = 18  # more than anything takes in order on a slow machine


def test_the_others_end_in_time_when_a_rank_stops_and_the_run_goes_on(
    specification: Callable[..., dict[str, Any]],
    undisturbed: Callable[..., Job],
    new_job: Callable[[dict[str, Any]], Job],
    record_property: Callable[[str, object], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(TIMEOUT, str(SECONDS / 60))
    job = new_job(specification("ddp"))
    life = Life(job)
    life.wait_for_checkpoints(1)
    family = below(life.process)
    ranks(life.process)[1].send_signal(signal.SIGSTOP)
    stopped = time.monotonic()
    said = said_by(life.process)
    told = rf"a process of it gave no answer in time \({TIMEOUT}\); run again, and it continues after step (\d+)"
    found = re.search(told, said)
    assert found, said
    assert time.monotonic() - stopped < SECONDS + GRACE_SECONDS + 30
    assert_gone(family)
    job.run()
    assert f"rank 0: resuming after step {found[1]}\n" in job.log.read_text()
    same(job, undisturbed("ddp"))
    record_property("faults injected", 1)
    record_property("runs recovered", 1)
