"""Killed by SIGKILL at chosen moments and started again, a run ends with the same models and curve, to the last bit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kills import ask_to_end, kill_at, same
from trainings import ENTRIES, Job, runs_here

from trainyard.core.files import read_json

AFTER = {"start": 0, "copying": 0}  # steps; one elsewhere
# one parallel setting a framework, with whom is killed when, one after another; test_search.py has the other moments of
# a run of one process, and test_long.py fifty kills an engine
KILLS = {
    "single": [("rank", "step"), ("launcher", "export"), ("launcher", "copying")],
    "ddp": [("trainer", "start"), ("rank", "checkpoint"), ("trainer", "export")],
    "zero2": [("rank", "step"), ("trainer", "checkpoint"), ("launcher", "export")],
    "low-level-zero": [("trainer", "step"), ("rank", "checkpoint"), ("launcher", "export")],
}


def test_an_engine_of_every_framework_is_killed() -> None:
    engines = {each.engine for each in ENTRIES.values() if runs_here(each)}
    assert engines >= {"deepspeed", "colossalai"}
    assert {ENTRIES[name].engine for name in KILLS} >= {"single", "ddp", *(engines & {"deepspeed", "colossalai"})}


def test_the_figures_of_the_long_test_hold_every_engine_and_no_run_that_differs() -> None:
    found = read_json(Path(__file__).parents[2] / "docs" / "benchmarks" / "kills.json").values()
    assert {each["engine"] for each in found} == {each.engine for each in ENTRIES.values() if runs_here(each)}
    assert {(each["kills"] >= 50, each["runs_that_differ"]) for each in found} == {(True, 0)}


@pytest.mark.slow
@pytest.mark.usefixtures("forked_ranks")
@pytest.mark.parametrize("parallel", KILLS)
def test_a_run_killed_again_and_again_ends_as_if_it_had_not_been(
    parallel: str,
    specification: Callable[..., dict[str, Any]],
    undisturbed: Callable[..., Job],
    new_job: Callable[[dict[str, Any]], Job],
    record_property: Callable[[str, object], None],
) -> None:
    steps = 20 * len(KILLS[parallel])
    job = new_job(specification(parallel, steps=steps))
    kills = [kill for victim, moment in KILLS[parallel] for kill in kill_at(job, victim, moment, AFTER.get(moment, 1))]
    for kill in kills:
        assert kill.victim == "launcher" or "it was killed; run again, and it " in kill.said
    if parallel == "ddp":
        assert "interrupted; run again, and it continues after step" in ask_to_end(job, rows=1)
    job.run()
    same(job, undisturbed(parallel, steps=steps))
    record_property("faults injected", len(kills))
    record_property("kills", len(kills))
    record_property("runs recovered", 1)
