"""Killed by SIGKILL at chosen moments and started again, a run ends with the same models and curve, to the last bit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kills import ask_to_end, kill_at, same
from trainings import ENTRIES, Job, runs_here

from trainyard.core.files import read_json

AFTER = {"start": 0, "copying": 0}  # steps; one elsewhere
EVERY_MOMENT = ("start", "step", "checkpoint", "export")
# three of them an engine: fifty are in test_long.py
ONE = [("trainer", "start"), ("rank", "checkpoint"), ("launcher", "export")]
OTHER = [("rank", "step"), ("trainer", "checkpoint"), ("trainer", "export")]
# one parallel setting an engine, with whom is killed when, one after another
KILLS = {
    "single": [(victim, moment) for victim in ("rank", "launcher") for moment in EVERY_MOMENT]
    + [("launcher", "copying")],
    **dict.fromkeys(("ddp", "fsdp", "pipeline", "low-level-zero"), ONE),
    **dict.fromkeys(("zero1", "tensor", "zero2"), OTHER),
}


def test_every_engine_of_this_machine_is_killed_at_least_three_times() -> None:
    assert {ENTRIES[name].engine for name in KILLS} == {each.engine for each in ENTRIES.values() if runs_here(each)}
    assert min(map(len, KILLS.values())) >= 3


def test_each_victim_is_killed_at_each_moment_under_three_engines() -> None:
    assert min(sum(each in kills for kills in KILLS.values()) for each in (*ONE, *OTHER)) >= 3


def test_the_figures_of_the_long_test_hold_every_engine_and_no_run_that_differs() -> None:
    found = read_json(Path(__file__).parents[2] / "docs" / "benchmarks" / "kills.json").values()
    assert {each["engine"] for each in found} == {ENTRIES[name].engine for name in KILLS}
    assert {(each["kills"] >= 50, each["runs_that_differ"]) for each in found} == {(True, 0)}


@pytest.mark.slow
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
