"""The least and the greatest value that a setting of training may have: a run takes it."""

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from trainings import Job

from trainyard.config.train import Train

JUST_OVER_0 = math.nextafter(0, 1)
JUST_UNDER_1 = math.nextafter(1, 0)
LEAST = {
    "learning_rate": JUST_OVER_0,
    "warmup_ratio": 0.0,
    "warmup_start": 0.0,
    "decay_ratio": JUST_OVER_0,
    "final_fraction": 0.0,
    "weight_decay": 0.0,
    "betas": (0.0, 0.0),
    "epsilon": 1e-30,
    "max_grad_norm": JUST_OVER_0,
    "dropout": 0.0,
    "min_improvement": 0.0,
    "label_smoothing": 0.0,
}
GREATEST = {
    "warmup_ratio": 1.0,
    "warmup_start": 1.0,
    "decay_ratio": 1.0,
    "final_fraction": 1.0,
    "weight_decay": 1e6,
    "betas": (JUST_UNDER_1, JUST_UNDER_1),
    "epsilon": 1e6,
    "max_grad_norm": 1e30,
    "dropout": JUST_UNDER_1,
    "min_improvement": 1e6,
    "label_smoothing": JUST_UNDER_1,
}
SHORT = {"steps": 3, "warmup_steps": None, "validate_every": 3, "checkpoint_every": 3}
DIVERGING = {"learning_rate": 1e30}

pytestmark = pytest.mark.slow
MakeSpecification = Callable[..., dict[str, Any]]
MakeJob = Callable[[str, dict[str, Any]], Job]


@pytest.mark.parametrize(("values", "window"), [(LEAST, 1), (GREATEST, 2**24)], ids=["least", "greatest"])
def test_a_run_with_every_value_at_its_edge_finishes(
    values: dict[str, Any], window: int, specification: MakeSpecification, new_job: MakeJob
) -> None:
    summary = new_job("run", specification(**SHORT, **values, attention={"window": window})).run()
    assert summary["outcome"] == "finished", summary["reason"]


def test_a_rate_that_no_training_bears_is_a_divergence(specification: MakeSpecification, new_job: MakeJob) -> None:
    summary = new_job("run", specification(**SHORT, **DIVERGING)).run()
    assert summary["outcome"] == "diverged", summary["reason"]


def test_every_setting_that_is_a_fraction_is_tried_at_both_edges() -> None:
    properties = Train.model_json_schema()["properties"]
    fractions = {key for key, node in properties.items() if '"number"' in json.dumps(node)} - {"epochs"}
    assert LEAST.keys() == GREATEST.keys() | DIVERGING.keys() == fractions
