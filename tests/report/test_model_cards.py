"""Model cards of a finished study, as the hub reads them."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from trainyard.config.settings import ENERGY, Energy
from trainyard.models.model_card import render_model_card
from trainyard.report.pages.model_cards import write_cards

from .sample_results import Results
from .test_energy import MODEL, add

ENDINGS = {"protocol": "harness", "shots": 0}


def add_models(folder: Path) -> None:
    """The models of a run with the cards that a training writes."""
    specification = json.loads((folder / "spec.json").read_text())
    specification["train"]["initial"] = "scratch"
    (folder / "spec.json").write_text(json.dumps(specification))
    for name in json.loads((folder / "summary.json").read_text())["models"]:
        (folder / "models" / name).mkdir(parents=True)
        card = render_model_card(specification, 400, {"validation loss": 1.2})
        (folder / "models" / name / "README.md").write_text(card, encoding="utf-8")


def cards_of(results: Results, energy: Energy = ENERGY) -> dict[str, ModelCard]:
    output = results.root / "cards"
    given = {"runs": results.runs, "evaluations": results.evaluations, "energy": energy, "output": output}
    write_cards(results.study, **given)
    return {str(file.parent.relative_to(output)): ModelCard.load(file) for file in sorted(output.glob("*/*/README.md"))}


@pytest.fixture
def scored(empty: Results) -> Results:
    """A run with two models, of which `best` is scored."""
    add_models(add(empty, "r"))
    values = {"acc": (0.542, 0.011), "acc_norm": (0.55, 0.011)}
    empty.add_evaluation("r", "hellaswag", values, settings=ENDINGS)
    return empty


def test_the_hub_s_library_reads_scores_and_emissions(scored: Results) -> None:
    cards = cards_of(scored)
    assert cards.keys() == {"r/best", "r/last"}
    data: Any = cards["r/best"].data
    assert data.model_name == "r"
    assert [(each.metric_type, each.metric_value, each.task_type) for each in data.eval_results] == [
        ("acc", 0.542, "text-generation"),
        ("acc_norm", 0.55, "text-generation"),
    ]
    first = data.eval_results[0]
    assert (first.dataset_type, first.dataset_split) == ("tinyworld-endings", "test")
    assert (first.dataset_args["n"], first.dataset_args["shots"]) == (2000, 0)
    emitted = data.co2_eq_emissions
    assert emitted["emissions"] == pytest.approx(1000 * MODEL * 0.473)  # grams
    assert emitted["training_type"] == "pre-training"
    assert emitted["hardware_used"] == "1 x A processor"
    assert emitted["source"].startswith(
        "Trainyard, model ± 40 %, of CPU time and memory; 473 g CO2e/kWh: world average"
    )
    assert "geographical_location" not in emitted
    assert data.library_name == "transformers"
    assert "model-index" not in cards["r/last"].data.to_dict()


def test_the_text_has_scores_and_energy_before_the_limits(scored: Results) -> None:
    cards = cards_of(scored)
    text = cards["r/best"].text
    assert "| accuracy, tinyworld-endings test, harness, 0-shot | 0.542 ± 0.011 |" in text
    assert "| kWh | 0.00675, model ± 40 %, of CPU time and memory |" in text
    assert text.index("## Results") < text.index("## Evaluation") < text.index("## Energy") < text.index("## Limits")
    assert text.count("## Limits") == 1
    assert "## Evaluation" not in cards["r/last"].text
    assert "<script>" not in text  # of the study's title


def test_the_place_of_the_machine_is_told_where_it_is_given_and_no_emissions_without_a_grid(scored: Results) -> None:
    grid = {"grams_per_kwh": 21.3, "source": "RTE 2024", "place": "Paris, France"}
    emitted = cards_of(scored, Energy.model_validate({"grid": grid}))["r/best"].data.to_dict()["co2_eq_emissions"]
    assert emitted["geographical_location"] == "Paris, France"
    assert emitted["emissions"] == pytest.approx(MODEL * 21.3)
    card = cards_of(scored, Energy.model_validate({"grid": None}))["r/best"]
    assert card.data.get("co2_eq_emissions") is None
    assert "CO2e" not in card.text


def test_a_model_that_was_deleted_has_no_card(scored: Results) -> None:
    shutil.rmtree(scored.runs[0] / "models" / "last")
    assert cards_of(scored).keys() == {"r/best"}


def test_a_run_without_readings_has_the_card_of_its_training_and_its_scores(empty: Results) -> None:
    add_models(empty.add_run("old"))
    empty.add_run("unsupported", outcome="unsupported", reason="no compiler", steps=0)
    cards = cards_of(empty)
    assert cards.keys() == {"old/best", "old/last"}
    assert cards["old/best"].data.get("co2_eq_emissions") is None
    assert "## Energy" not in cards["old/best"].text
