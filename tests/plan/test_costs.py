"""What a planned study says that its trainings are to cost."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from trainyard.config.catalogue import Model
from trainyard.estimate.parameters import flops_per_pair, flops_per_token
from trainyard.plan.costs import describe_costs, estimate_cost
from trainyard.plan.study import Plan

from .conftest import STUDY

ESTIMATE = {"tflops": 0.5, "watts": 200.0}
TUNE = {
    "name": "rate",
    "method": ["pbt", "halving"],
    "dataset": "tinyworld",
    "model": "gpt2-tiny",
    "members": 4,
    "generations": 3,
    "steps": 20,
    "over": {"learning_rate": {"log": [1e-4, 1e-2]}},
    "train": {"batch": 8, "sequence_length": 64, "decay": "constant"},
}


def study(**grid: Any) -> dict[str, Any]:
    made = copy.deepcopy(STUDY)
    made["grids"][0] |= grid
    return made


def table(planned: Plan) -> list[list[str]]:
    """The cells of the table's lines, without its heading."""
    _, _, *lines = describe_costs(planned.studies["s"], planned.config).splitlines()
    return [line.split() for line in lines]


def test_hours_energy_and_money_follow_from_flops(plan: Callable[..., Plan]) -> None:
    made = study(parallel=["ddp"], processes=[2])
    config = {"estimate": ESTIMATE, "prices": {"currency": "EUR", "cpu": 3.0}, "energy": {"pue": 1.5}}
    planned = plan(made, **config)
    (run,) = planned.studies["s"].runs.values()
    cost = estimate_cost(run, planned.studies["s"].catalogues, planned.config)
    model = Model.from_spec(run.specification["model"])
    assert cost.tokens == 10 * 8 * 64
    assert cost.flops == cost.tokens * flops_per_token(model, 64)
    assert cost.hours == pytest.approx(cost.flops / 0.5e12 / 2 / 3600)
    assert cost.kwh == pytest.approx(2 * cost.hours * 200 * 1.5 / 1000)
    assert cost.money == pytest.approx(2 * cost.hours * 3)


def test_pairs_count_by_both_of_their_lengths(plan: Callable[..., Plan]) -> None:
    train = {"steps": 10, "batch": 8, "source_length": 100, "target_length": 20, "learning_rate": 1e-3}
    planned = plan(study(datasets=["tinyworld-dialogues"], models=["bart-tiny"], train=train))
    (run,) = planned.studies["s"].runs.values()
    cost = estimate_cost(run, planned.studies["s"].catalogues, planned.config)
    assert cost.flops == pytest.approx(80 * flops_per_pair(Model.from_spec(run.specification["model"]), 100, 20))


def test_runs_that_differ_in_their_seed_are_one_line_and_the_last_line_is_their_sum(plan: Callable[..., Plan]) -> None:
    rows = table(plan(study(recipes={"base": {}, "short": {"steps": 5}}, seeds=[1, 2, 3]), estimate=ESTIMATE))
    assert [row[:2] for row in rows] == [
        ["tinyworld_gpt2-tiny_single-x1_fp32", "3"],
        ["tinyworld_gpt2-tiny_single-x1_fp32_short", "3"],
        ["all", "6"],
    ]
    assert [row[4] for row in rows[:2]] == ["15,360", "7,680"]
    assert rows[2][3] == "23,040"


def test_a_search_takes_its_budget_once(plan: Callable[..., Plan]) -> None:
    rows = table(plan({**STUDY, "grids": [], "tune": [TUNE]}, estimate=ESTIMATE))
    budget = f"{4 * 3 * 20 * 8 * 64:,}"
    assert [(row[:3], row[5]) for row in rows[:2]] == [
        (["search", "rate-pbt", "12"], budget),
        (["search", "rate-halving", "7"], budget),
    ]


def test_without_an_estimate_it_says_that_its_rate_is_a_guess(plan: Callable[..., Plan]) -> None:
    planned = plan()
    first, *_ = describe_costs(planned.studies["s"], planned.config).splitlines()
    assert "at a guess of 0.02 TFLOP/s and 12 W a thread: say better by `estimate`" in first


def test_a_study_that_trains_nothing_has_no_table(plan: Callable[..., Plan]) -> None:
    measured = {"models": ["gpt2-tiny"], "parallel": ["single"], "batch": [2], "sequence_length": [64], "steps": 3}
    planned = plan({"title": "t", "question": "q", "measure": [measured]})
    assert describe_costs(planned.studies["s"], planned.config) == ""
