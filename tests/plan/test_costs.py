"""What a planned study says that its trainings are to cost."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from trainyard.config.catalogue import Model
from trainyard.estimate.parameters import flops_per_pair, flops_per_token
from trainyard.plan.configuration import Plan
from trainyard.plan.costs import Cost, describe_costs, estimate_cost

from .conftest import SEARCH, STUDY

ESTIMATE = {"tflops": 0.5, "watts": 200.0}
LENGTHS = {"batch": 8, "sequence_length": 64, "learning_rate": 1e-3}
PAIRS = {"batch": 8, "source_length": 100, "target_length": 20, "learning_rate": 1e-3}


def study(**grid: Any) -> dict[str, Any]:
    made = copy.deepcopy(STUDY)
    made["grids"][0] |= grid
    return made


def described(planned: Plan, unsupported: str | None = None) -> list[str]:
    """The texts of a plan's study, of whose trainings those under one parallel setting can't be done here."""
    why = "not here"
    return list(
        describe_costs(planned.studies["s"], planned.config, lambda run: why if run.entry == unsupported else None)
    )


def table(planned: Plan, unsupported: str | None = None) -> list[list[str]]:
    """The cells of the table's lines, without its heading."""
    text, *_ = described(planned, unsupported)
    _, _, _, *lines = text.splitlines()
    return [line.split() for line in lines]


def cost_of_one(planned: Plan) -> Cost | None:
    (run,) = planned.studies["s"].runs.values()
    return estimate_cost(run, planned.studies["s"].catalogues, planned.config)


def test_hours_energy_and_money_follow_from_flops(plan: Callable[..., Plan]) -> None:
    made = study(parallel=["ddp"], processes=[2], threads=3)
    config = {"estimate": ESTIMATE, "prices": {"currency": "EUR", "cpu": 3.0}, "energy": {"pue": 1.5}}
    planned = plan(made, **config)
    cost = cost_of_one(planned)
    assert cost
    (run,) = planned.studies["s"].runs.values()
    assert cost.tokens == 10 * 8 * 64
    assert cost.flops == cost.tokens * flops_per_token(Model.from_spec(run.specification["model"]), 64)
    assert cost.hours == pytest.approx(cost.flops / (2 * 3 * 0.5e12) / 3600)
    assert cost.kwh == pytest.approx(2 * 3 * cost.hours * 200 * 1.5 / 1000)
    assert cost.money == pytest.approx(2 * cost.hours * 3)


def test_activation_checkpointing_takes_a_third_more_time_and_no_more_of_the_models_flops(
    plan: Callable[..., Plan],
) -> None:
    plain = cost_of_one(plan())
    checkpointed = cost_of_one(plan(study(train=STUDY["grids"][0]["train"] | {"activation_checkpointing": True})))
    assert plain
    assert checkpointed
    assert checkpointed.hours == pytest.approx(4 / 3 * plain.hours)
    assert checkpointed.flops == plain.flops


@pytest.mark.parametrize(("length", "pairs"), [({"steps": 10}, 80), ({"epochs": 2}, 12_000)])
def test_pairs_count_at_their_full_length(plan: Callable[..., Plan], length: dict[str, Any], pairs: int) -> None:
    planned = plan(study(datasets=["tinyworld-dialogues"], models=["bart-tiny"], train=PAIRS | length))
    cost = cost_of_one(planned)
    (run,) = planned.studies["s"].runs.values()
    assert cost
    assert cost.tokens == pairs * 120
    assert cost.flops == pytest.approx(pairs * flops_per_pair(Model.from_spec(run.specification["model"]), 100, 20))


def test_what_passes_over_a_dataset_of_unknown_size_has_no_cost_and_says_so(
    plan: Callable[..., Plan], folder: Path
) -> None:
    datasets = yaml.safe_load((folder / "datasets.yaml").read_text())
    del datasets["samsum"]["rows"]
    (folder / "datasets.yaml").write_text(yaml.safe_dump(datasets))
    grids = [study(datasets=["samsum"], models=["bart-tiny"], train=PAIRS | {"epochs": 1})["grids"][0]]
    planned = plan({**STUDY, "grids": [*grids, *STUDY["grids"]]})
    text, said = described(planned)
    assert text.splitlines()[3].split()[:3] == ["samsum_bart-tiny_single-x1_fp32", "1", "1"]
    assert len(text.splitlines()[3].split()) == 4
    assert text.splitlines()[-1].split()[4:] == text.splitlines()[-2].split()[4:]
    assert said == "s: no cost of passes over samsum: give config/datasets.yaml its tokens, or rows of pairs"


def test_where_no_size_is_known_there_is_no_sum(plan: Callable[..., Plan]) -> None:
    text, _ = described(plan(study(train=LENGTHS | {"epochs": 1})))
    assert text.splitlines()[1].split() == ["training", "runs", "processes", "GiB", "each"]
    assert text.splitlines()[-1].split()[:3] == ["all", "1", "1"]


def test_what_can_not_be_done_has_no_line(plan: Callable[..., Plan]) -> None:
    both = study(parallel=["ddp", "single"], processes=[1, 2])
    names = ["tinyworld_gpt2-tiny_ddp-x1_fp32", "tinyworld_gpt2-tiny_ddp-x2_fp32", "tinyworld_gpt2-tiny_single-x1_fp32"]
    # with an estimate another machine is meant, and no machine has several processes of single
    assert [name for name, *_ in table(plan(both, estimate=ESTIMATE), "ddp")] == [*names, "all"]
    here = [name for name, *_ in table(plan(both), "ddp")]
    assert not [name for name in here if "ddp" in name]


def test_runs_that_differ_in_their_seed_are_one_line_and_the_last_line_is_their_sum(plan: Callable[..., Plan]) -> None:
    rows = table(plan(study(recipes={"base": {}, "short": {"steps": 5}}, seeds=[1, 2, 3]), estimate=ESTIMATE))
    assert [row[:2] for row in rows] == [
        ["tinyworld_gpt2-tiny_single-x1_fp32", "3"],
        ["tinyworld_gpt2-tiny_single-x1_fp32_short", "3"],
        ["all", "6"],
    ]
    assert [row[4] for row in rows[:2]] == ["15,360", "7,680"]
    assert rows[2][4] == "23,040"


def test_a_search_takes_its_budget_once(plan: Callable[..., Plan]) -> None:
    rows = table(plan({**STUDY, "grids": [], "tune": [SEARCH]}, estimate=ESTIMATE))
    budget = f"{4 * 3 * 10 * 8 * 64:,}"
    assert [(row[:3], row[5]) for row in rows[:2]] == [
        (["search", "rate-pbt", "12"], budget),
        (["search", "rate-halving", "7"], budget),
    ]


def test_a_searchs_memory_is_that_of_the_dearest_value(plan: Callable[..., Plan]) -> None:
    def memory(choice: list[Any]) -> str:
        tune = SEARCH | {"method": ["grid"], "over": {"freeze": {"choice": choice}}, "model": "gpt2-52m"}
        tune |= {"train": SEARCH["train"] | {"learning_rate": 1e-3}}
        return table(plan({**STUDY, "grids": [], "tune": [tune]}))[0][4]

    assert memory([["embeddings"], []]) == memory([[]])
    assert float(memory([["embeddings"]])) < float(memory([[]]))


def test_without_an_estimate_it_says_that_its_rate_is_a_guess(plan: Callable[..., Plan]) -> None:
    (text,) = described(plan())
    assert "(a guess; `estimate` says better: 0.02 TFLOP/s and 12 W a thread of a CPU; " in text


def test_a_study_that_trains_nothing_has_no_table(plan: Callable[..., Plan]) -> None:
    measured = {"models": ["gpt2-tiny"], "parallel": ["single"], "batch": [2], "sequence_length": [64], "steps": 3}
    assert described(plan({"title": "t", "question": "q", "measure": [measured]})) == []
