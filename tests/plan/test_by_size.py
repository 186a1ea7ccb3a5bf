"""Settings of training that follow the model's size."""

from collections.abc import Callable
from typing import Any

import pytest

from trainyard.core.errors import InputError
from trainyard.estimate import kaplan
from trainyard.estimate.parameters import parameters, parameters_without_embeddings
from trainyard.plan.configuration import Plan

TRAIN = {"steps": 10, "batch": 8, "sequence_length": 64, "learning_rate": 1e-3}
MODELS = ["gpt2-modern-60k", "gpt2-modern-1m"]
Trained = Callable[..., dict[str, dict[str, Any]]]


@pytest.fixture
def trained(plan: Callable[..., Plan]) -> Trained:
    """The settings of training of each model in a study of one grid, with its number of parameters."""

    def make(models: list[str] = MODELS, recipes: dict[str, Any] | None = None, **train: Any) -> dict[str, Any]:
        settings = {name: value for name, value in {**TRAIN, **train}.items() if value is not None}
        grid = {"datasets": ["tinyworld"], "models": models, "train": settings, "recipes": recipes or {"base": {}}}
        made = plan({"title": "t", "question": "q", "grids": [grid]})
        return {
            "_".join(filter(None, (run.specification["model"]["name"], run.specification["recipe"]))): {
                **run.specification["train"],
                "N": parameters(made.catalogues.models[run.specification["model"]["name"]]),
                "without": parameters_without_embeddings(made.catalogues.models[run.specification["model"]["name"]]),
            }
            for run in made.studies["s"].trainings
        }

    return make


def test_tokens_and_rate_are_powers_of_all_parameters(trained: Trained) -> None:
    rate = {"scale": 0.3, "exponent": -0.25}
    for each in trained(steps=None, tokens={"scale": 20}, learning_rate=rate).values():
        assert each["tokens"] == 20 * each["N"]
        assert each["learning_rate"] == pytest.approx(0.3 * each["N"] ** -0.25)


def test_a_power_of_minus_one_gives_every_size_the_same_compute(trained: Trained) -> None:
    compute = [
        6 * each["tokens"] * each["N"] for each in trained(steps=None, tokens={"scale": 1e12, "exponent": -1}).values()
    ]
    assert compute == pytest.approx([6e12, 6e12], rel=1e-6)


def test_recipes_are_budgets(trained: Trained) -> None:
    recipes = {"ten": {"tokens": {"scale": 10}}, "forty": {"tokens": {"scale": 40}}}
    found = trained(MODELS[:1], recipes, steps=None, tokens=1024)
    assert {name: each["tokens"] / each["N"] for name, each in found.items()} == {
        "gpt2-modern-60k_ten": 10,
        "gpt2-modern-60k_forty": 40,
    }


def test_kaplans_formulas_are_of_the_parameters_without_embeddings(trained: Trained) -> None:
    (found,) = trained(["gpt2-124m"], steps="kaplan", learning_rate="kaplan").values()
    assert found["without"] == pytest.approx(12 * 12 * 768**2, rel=2e-3)
    assert found["steps"] == round(kaplan.efficient_steps(found["without"]))
    assert found["learning_rate"] == kaplan.learning_rate(found["without"])


def test_a_batch_of_tokens_is_rounded_to_whole_sequences(trained: Trained) -> None:
    for each in trained(batch=None, batch_tokens={"scale": 0.01}).values():
        assert each["batch_tokens"] % 64 == 0
        assert abs(each["batch_tokens"] - max(64, 0.01 * each["N"])) <= 32


def test_so_it_is_where_the_length_of_a_sequence_is_the_usual_one(trained: Trained) -> None:
    (found,) = trained(["gpt2-52m"], batch=None, batch_tokens={"scale": 0.001}, sequence_length=None).values()
    assert found["batch_tokens"] == 50 * 1024


@pytest.mark.parametrize(
    ("train", "said"),
    [
        ({"learning_rate": {"sclae": 0.1}}, "grids.0.train.learning_rate.sclae: no such key"),
        ({"learning_rate": {"scale": -1}}, "grids.0.train.learning_rate.scale: should be greater than 0"),
        ({"decay": "kaplan"}, "grids.0.train.decay: kaplan has a formula for steps, tokens, learning_rate alone"),
        ({"dropout": {"scale": 1e-6}}, "grids.0.train.dropout"),
    ],
)
def test_what_cannot_follow_the_size_is_refused_by_its_key(trained: Trained, train: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as error:
        trained(**train)
    assert said in str(error.value)


def test_a_rate_that_kaplans_formula_puts_below_zero_is_refused(plan: Callable[..., Plan], folder: Any) -> None:
    shape = "{layers: 80, width: 8192, heads: 64, context: 2048, vocabulary: 50257}"
    entry = f"\nhuge:\n  title: Huge\n  family: gpt2\n  tokenizer: gpt2\n  shape: {shape}\n"
    (folder / "models.yaml").write_text((folder / "models.yaml").read_text() + entry)
    grid = {"datasets": ["tinyworld"], "models": ["huge"], "train": {**TRAIN, "learning_rate": "kaplan"}}
    with pytest.raises(InputError, match=r"Kaplan's formula gives -0\.00023 for a model of this size"):
        plan({"title": "t", "question": "q", "grids": [grid]})
