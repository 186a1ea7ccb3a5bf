"""A run that has stopped improving ends: at a step that its validation losses alone decide."""

import re

import pytest
from kills import kill_at

from trainyard.core.files import read_json
from trainyard.train.early_stopping import count_without_improvement


@pytest.mark.parametrize(
    ("losses", "least", "count"),
    [
        ([], 0.0, 0),
        ([3.0, 2.0, 1.0], 0.0, 0),
        ([3.0, 2.0, 2.0, 2.5], 0.0, 2),
        ([3.0, 2.0, 2.5, 1.9], 0.0, 0),
        ([3.0, 2.95, 2.9, 2.85], 0.1, 0),  # steps of 0.05 add up: 2.85 lies 0.15 below the last improvement
        ([3.0, 2.95, 2.9], 0.1, 2),
    ],
)
def test_validations_without_an_improvement_are_counted_from_the_last_one(losses, least, count):
    assert count_without_improvement(losses, least) == count


# no loss lies 100 nats below the first: the first validation improves, and the two after it do not
STALLS = {"steps": 200, "validate_every": 10, "checkpoint_every": 5, "patience": 2, "min_improvement": 100.0}


@pytest.mark.parametrize("parallel", ["single", "ddp"])
def test_a_run_that_no_longer_improves_ends_whole_and_says_so(specification, new_job, parallel):
    job = new_job("early", specification(parallel=parallel, **STALLS))
    summary = job.run()
    assert (summary["outcome"], summary["steps"], summary["planned_steps"]) == ("finished", 30, 200)
    assert summary["reason"] == ("stopped early at step 30 of 200: the last 2 validations improved on none before them")
    assert len(job.rows()) == 30
    assert summary["models"] == ["best", "last"]
    assert read_json(job.output / "models/last/trainyard.json")["step"] == 30


def test_a_killed_run_ends_early_at_the_same_step(specification, new_job):
    whole = new_job("whole", specification(**STALLS))
    whole.run()
    job = new_job("killed", specification(**STALLS))
    kill_at(job, "rank", "step", rows=22)  # the checkpoint after step 20 may be on its way to the disk
    job.run()
    assert re.search(r"resuming after step (15|20)\n", job.log.read_text())
    assert job.curve() == whole.curve()


def test_one_validation_is_told_as_one(specification, new_job):
    summary = new_job("impatient", specification(**STALLS | {"patience": 1})).run()
    assert summary["reason"] == "stopped early at step 20 of 200: the last validation improved on none before it"


def test_a_run_that_improves_ends_at_its_last_step(specification, new_job):
    summary = new_job("whole", specification(steps=4, validate_every=2, patience=1)).run()
    assert (summary["outcome"], summary["reason"], summary["steps"]) == ("finished", None, 4)
