"""Losses forecast from cheaper runs: how they are made, how sure they are, and what the report says of them."""

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainyard.core.files import sha256_file
from trainyard.report.pages import forecasts as page
from trainyard.report.statistics.chinchilla import ChinchillaLaw
from trainyard.report.statistics.forecast import (
    Forecast,
    Trained,
    forecast,
    leave_out_each_size,
    make_forecast,
    predict_within,
)

from .reading import csv_rows, sentences, svg_text

LAW = ChinchillaLaw(0.9, 30.0, 0.35, 200.0, 0.4)
SIZES, TOKENS = (30_000, 70_000, 150_000, 330_000, 760_000), (400_000, 800_000, 1_600_000, 3_200_000)
TARGET = 2_600_000, 9_600_000


def ladder(noise: float = 0.0, seed: int = 0) -> list[Trained]:
    """A pair of each size and budget, with the loss of the law and relative noise."""
    random = np.random.default_rng(seed)
    return [
        Trained(size, tokens, LAW.loss(size, tokens) * math.exp(noise * random.normal()))
        for size, tokens in itertools.product(SIZES, TOKENS)
    ]


def made(pairs: list[Trained], size: int, tokens: int) -> Forecast:
    found = forecast(pairs, size, tokens)
    assert isinstance(found, Forecast), found
    return found


def test_without_noise_the_loss_of_ten_times_the_compute_is_that_of_the_law() -> None:
    found = made(ladder(), *TARGET)
    assert found.law == "L(N, D)"
    assert found.loss == pytest.approx(LAW.loss(*TARGET), rel=1e-4)
    assert found.high / found.low == pytest.approx(1, abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.002, 0.01])
@pytest.mark.parametrize(("seeds", "target"), [(1, TARGET), (5, (900_000, 3_200_000))])
def test_intervals_hold_a_new_run_as_often_as_they_say(noise: float, seeds: int, target: tuple[int, int]) -> None:
    held = 0
    for draw in range(100):
        runs = [run for seed in range(seeds) for run in ladder(noise, 100 * draw + seed)]
        found = made(runs, *target)
        measured = LAW.loss(*target) * math.exp(noise * np.random.default_rng(10**6 + draw).normal())
        held += found.low <= measured <= found.high
    assert held >= 88  # of 100 right intervals so few hold in 3 of 1,000


def test_the_interval_of_a_straight_line_is_the_textbooks() -> None:
    # Student's t of 2 degrees is 4.303; line y = x through (0, 0.1), (1, 0.9), (2, 1.9), (3, 3.1): residuals
    # 0.1, -0.1, -0.1, 0.1, s^2 = 0.02, and at x = 4 the leverage is 1/4 + (4 - 1.5)^2 / 5 = 1.5
    slopes = [np.array([1.0, x]) for x in (0.0, 1.0, 2.0, 3.0)]
    within = predict_within(slopes, [0.1, -0.1, -0.1, 0.1], np.array([1.0, 4.0]))
    assert within == pytest.approx(4.3027 * math.sqrt(0.02 * 2.5), rel=1e-4)


def test_where_tokens_follow_from_the_size_the_law_of_size_alone_is_taken() -> None:
    sizes = (*SIZES, 1_700_000)
    pairs = [Trained(size, 20 * size, 1.0 + 50 * size**-0.4) for size in sizes]
    found = made(pairs, 5_000_000, 100_000_000)
    assert found.law == "L(N)"
    assert found.loss == pytest.approx(1.0 + 50 * 5_000_000**-0.4, rel=1e-4)
    assert "do not follow" in str(forecast(pairs, 5_000_000, 200_000_000))


def test_runs_that_determine_no_law_give_no_forecast_but_a_reason() -> None:
    few = [pair for pair in ladder() if pair.parameters in SIZES[:2]]
    reason = forecast(few, *TARGET)
    assert isinstance(reason, str)
    assert reason.startswith("8 runs of 2 sizes and 4 budgets of tokens determine no law")


def test_seeds_of_few_pairs_determine_no_law() -> None:
    diagonal = [Trained(size, tokens, LAW.loss(size, tokens)) for size, tokens in zip(SIZES, TOKENS, strict=False)]
    assert isinstance(forecast(diagonal[:3] * 3, *TARGET), str)


def test_each_size_is_forecast_from_the_others() -> None:
    trials = leave_out_each_size(ladder())
    assert [pair for pair, _ in trials] == [pair for pair in ladder() if pair.tokens == TOKENS[-1]]
    for pair, found in trials:
        assert isinstance(found, Forecast)
        assert found.loss == pytest.approx(pair.loss, rel=1e-3)


@pytest.fixture
def target(empty: Any) -> Path:
    """A study of nine runs and a tenth whose loss was forecast; the law holds for all."""
    return empty.add_ladder(ChinchillaLaw(0.5, 30.0, 0.3, 200.0, 0.4))


def test_a_forecast_names_the_runs_that_it_rests_on_by_their_hashes(empty: Any, target: Path) -> None:
    raw = json.loads((target / "forecast.json").read_text())
    named = {each["run"]: each["sha256"] for each in raw["runs"]}
    summaries = {run.name: sha256_file(run / "summary.json") for run in empty.runs if run != target}
    assert named == summaries
    assert raw["tokens"] == 2048 * 6400
    assert raw["reason"] is None
    assert raw["left_out"] == {}


def test_the_report_sets_the_forecast_beside_what_the_run_came_to(
    empty: Any, target: Path, outputs: dict[str, Path]
) -> None:
    measured = json.loads((target / "summary.json").read_text())["validation_loss"]
    empty.set_loss(target.name, measured * 1.02)
    said = sentences(empty)["Forecasts"]
    assert "with 4.0 times the compute of the largest of 9 cheaper runs" in said
    assert "by L(N, D) before it was trained; it came to" in said
    assert "2.0 % above the forecast and outside the interval." in said
    page.tabulate(empty.study, runs=empty.runs, **outputs)
    first, *trials = csv_rows(outputs["numbers"])
    assert float(first["forecast"]) == pytest.approx(measured, rel=1e-3)
    assert float(first["measured"]) == measured * 1.02
    assert float(first["error"]) == pytest.approx(0.02, abs=1e-3)
    assert first["inside"] == "false"
    assert first["made"].startswith("20")
    assert len(trials) == 3
    page.draw(empty.study, runs=empty.runs, output=empty.root / "a.svg")
    assert "measured" in svg_text(empty.root / "a.svg")


def test_it_comes_first_on_the_overview(empty: Any, target: Path) -> None:
    assert next(iter(sentences(empty))) == "Forecasts"


def test_a_forecast_that_is_made_again_leaves_the_one_that_the_training_began_with(empty: Any, target: Path) -> None:
    before = sentences(empty)["Forecasts"]
    (target / "forecast.json").write_text("{}")
    assert sentences(empty)["Forecasts"] == before


def test_two_ladders_have_a_panel_each(empty: Any, target: Path) -> None:
    other = empty.add_ladder(ChinchillaLaw(0.9, 30.0, 0.3, 200.0, 0.4), target_steps=12_800)
    raw = json.loads((other / "forecast.json").read_text())
    for each in raw["runs"]:
        each["loss"] *= 1.1
    (other / "forecast.json").write_text(json.dumps(raw))
    empty.begin_with(other / "forecast.json")
    page.draw(empty.study, runs=empty.runs, output=empty.root / "a.svg")
    assert svg_text(empty.root / "a.svg").count("Validation loss against compute, tinyworld") == 2


def test_a_run_that_failed_has_a_forecast_and_no_loss(empty: Any, target: Path) -> None:
    path = target / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"outcome": "diverged", "validation_loss": None}))
    assert "it came to no loss to compare (diverged)" in sentences(empty)["Forecasts"]


def test_no_law_is_said_with_its_reason_and_what_failed_is_named(empty: Any) -> None:
    failed = empty.add_run("gpt2-500k-hot", model="gpt2-500k", outcome="diverged", steps=100)
    finished = empty.add_run("gpt2-250k-s1", model="gpt2-250k")
    target = empty.add_run("gpt2-1m-s1")
    specification = json.loads((target / "spec.json").read_text())
    summaries = [folder / "summary.json" for folder in (failed, finished)]
    asked = {"run": target.name, "model": specification["model"], "tokens": 819_200}
    make_forecast(asked, summaries, target / "forecast.json")
    empty.begin_with(target / "forecast.json")
    raw = json.loads((target / "forecast.json").read_text())
    assert raw["left_out"] == {"gpt2-500k-hot": "diverged"}
    assert raw["loss"] is None
    assert (
        "no loss could be forecast: 1 run of 1 size and 1 budget of tokens determine no law"
        in sentences(empty)["Forecasts"]
    )
