"""A run whose loss is forecast is trained when its forecast is there."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from trainyard.core.errors import InputError
from trainyard.plan.configuration import Plan
from trainyard.plan.jobs import Dag

TRAIN = {"steps": 10, "batch": 8, "sequence_length": 64, "learning_rate": 1e-3}
SMALL = {"datasets": ["tinyworld"], "models": ["gpt2-modern-60k", "gpt2-modern-250k"], "train": TRAIN}
LARGE = {"datasets": ["tinyworld"], "models": ["gpt2-modern-1m"], "train": TRAIN, "forecast": True}
Make = Callable[..., Dag]


@pytest.fixture
def dag(plan: Callable[..., Plan]) -> Make:
    """The jobs of a study of these grids."""
    return lambda *grids: Dag(plan({"title": "t", "question": "q", "grids": list(grids)}), Path("envs"), conda=False)


def wildcards(model: str) -> Any:
    return SimpleNamespace(study="s", run=f"tinyworld_{model}_single-x1_fp32_seed1")


def test_its_training_takes_the_forecast_and_the_forecast_the_summaries_of_the_others(dag: Make) -> None:
    jobs = dag(LARGE, SMALL)  # in whatever order
    large = wildcards("gpt2-modern-1m")
    assert jobs.forecast(large) == [f"results/s/{large.run}/forecast.json"]
    assert jobs.forecast_from(large) == [
        f"results/s/{wildcards(model).run}/summary.json" for model in ("gpt2-modern-60k", "gpt2-modern-250k")
    ]
    assert jobs.forecast_target(large)["tokens"] == 10 * 8 * 64
    assert jobs.forecast(wildcards("gpt2-modern-60k")) == []


def test_a_study_without_forecasts_has_no_page_of_them(dag: Make) -> None:
    assert not any("forecasts" in file for file in dag(SMALL).report("s"))
    assert [Path(file).name for file in dag(SMALL, LARGE).report("s") if "forecasts" in file] == [
        "forecasts.svg",
        "forecasts.html",
    ]


@pytest.mark.parametrize(
    "other",
    [
        {"models": ["gpt2-tiny"]},
        {"recipes": {"other": {"lora": {"rank": 2}}}},
        {"recipes": {"other": {"freeze": ["embeddings"]}}},
        {"recipes": {"other": {"attention": {"window": 8}}}},
        {"recipes": {"other": {"sequence_length": 32}}},
        {"recipes": {"other": {"validation_tokens": 640}}},
        {"models": ["gpt2-modern-1m"], "recipes": {"other": {"steps": 11}}},
    ],
    ids=str,
)
def test_dearer_runs_and_those_whose_losses_are_of_another_kind_tell_nothing(dag: Make, other: dict[str, Any]) -> None:
    jobs = dag(SMALL, {**SMALL, **other}, LARGE)
    assert len(jobs.forecast_from(wildcards("gpt2-modern-1m"))) == 2


@pytest.mark.parametrize(
    ("grids", "said"),
    [
        ([LARGE], "grids.0.forecast: no other grid trains gpt2_modern models on tinyworld with the tokenizer bpe-512"),
        (
            [SMALL, {**LARGE, "train": {**TRAIN, "steps": None, "epochs": 1}}],
            "grids.1.forecast: a forecast is of text and a known number of tokens; give steps or tokens",
        ),
    ],
)
def test_what_nothing_can_be_forecast_from_is_refused(dag: Make, grids: list[Any], said: str) -> None:
    with pytest.raises(InputError) as error:
        dag(*grids)
    assert said in str(error.value)
