"""Runs that differ in one setting alone: where their loss is lowest, and how sure that is."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainyard.estimate.parameters import parameters
from trainyard.report.pages import sweeps
from trainyard.report.pages.compute_optimal import describe_law
from trainyard.report.results.sweeps import find_sweeps
from trainyard.report.statistics.parabola import find_minimum

from .reading import csv_rows, evidence_of, sentences, svg_text

RATES = (1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2)


def curve(rate: float, best: float = 3e-3) -> float:
    return 1.5 + 0.1 * math.log(rate / best) ** 2


def test_a_parabola_is_found_again() -> None:
    found = find_minimum(RATES, [curve(rate) for rate in RATES])
    assert found is not None
    assert (found.at, found.height, found.bend) == pytest.approx((3e-3, 1.5, 0.1))
    assert found.low == pytest.approx(3e-3, rel=1e-3)
    assert found.high == pytest.approx(3e-3, rel=1e-3)
    assert found.loss(6e-3) == pytest.approx(curve(6e-3))


def test_three_runs_have_a_lowest_point_and_no_interval() -> None:
    found = find_minimum(RATES[:3], [curve(rate) for rate in RATES[:3]])
    assert found is not None
    assert found.at == pytest.approx(3e-3)
    assert (found.low, found.high) == (None, None)


@pytest.mark.parametrize(
    "losses", [[3.0, 2.5, 2.0, 1.6, 1.3], [1.0, 1.2, 1.25, 1.2, 1.0]], ids=["lowest at an end", "bends down"]
)
def test_losses_that_are_lowest_at_an_end_have_none(losses: list[float]) -> None:
    assert find_minimum(RATES, losses) is None


@pytest.mark.parametrize(("count", "deviation"), [(5, 0.01), (7, 0.02)])
def test_the_interval_holds_the_truth_as_often_as_it_says(count: int, deviation: float) -> None:
    held, rates = 0, [float(rate) for rate in np.geomspace(RATES[0], RATES[-1], count)]
    for seed in range(200):
        noise = deviation * np.random.default_rng(seed).normal(size=count)
        found = find_minimum(rates, [curve(rate) + each for rate, each in zip(rates, noise, strict=True)])
        assert found is not None
        held += (found.low or 0.0) < 3e-3 < (found.high or math.inf)
    assert held >= 181  # of 200 right intervals so few hold in 3 of 1,000


@pytest.fixture
def swept(empty: Any) -> Any:
    """Two sizes under five rates, of which the larger one's is lowest at an end, and the highest diverged."""
    for model, best in (("gpt2-250k", 3e-3), ("gpt2-1m", 5e-4)):
        for rate in RATES:
            outcome = "diverged" if (model, rate) == ("gpt2-1m", 1.6e-2) else "finished"
            folder = empty.add_run(f"{model}-{rate:g}", model=model, recipe=f"lr-{rate:g}", outcome=outcome, steps=100)
            empty.set_loss(folder.name, curve(rate, best))
            specification = json.loads((folder / "spec.json").read_text())
            specification["train"]["learning_rate"] = rate
            (folder / "spec.json").write_text(json.dumps(specification))
    return empty


def test_runs_are_swept_that_differ_in_one_setting_recipe_and_seed_alone(swept: Any) -> None:
    specifications = [json.loads((run / "spec.json").read_text()) for run in swept.runs]
    assert [len(sweep.places) for sweep in find_sweeps(specifications)] == [5, 5]
    assert not find_sweeps(specifications[:2])
    for place, specification in enumerate(specifications):
        specification["train"]["keep_steps"] = [place]  # changes no loss
    assert [len(sweep.places) for sweep in find_sweeps(specifications)] == [5, 5]
    for place, specification in enumerate(specifications):
        specification["train"]["weight_decay"] = 0.1 * place
    assert not find_sweeps(specifications)


def tried(losses: list[tuple[float, float]], failed: list[tuple[float, str]] | None = None) -> sweeps.TriedSetting:
    values, found = ([pair[part] for pair in losses] for part in (0, 1))
    return sweeps.TriedSetting("learning_rate", "x", values, found, failed or [], find_minimum(values, found))


def test_a_divergence_beyond_the_best_value_bounds_it() -> None:
    falling = [(1e-3, 1.8), (2e-3, 1.6), (4e-3, 1.5)]
    assert tried(falling).why_no_minimum == "at an end of the values tried"
    assert "no parabola" in tried(falling, [(8e-3, "diverged")]).why_no_minimum


def test_no_lucky_seed_is_the_best_value() -> None:
    seeds = [(1e-3, 3.0), (1e-3, 3.1), (2e-3, 2.70), (2e-3, 3.30), (4e-3, 2.75), (4e-3, 2.76)]
    assert tried(seeds).best == (4e-3, pytest.approx(2.755))


def test_the_report_says_where_the_loss_is_lowest_and_what_failed(swept: Any, outputs: dict[str, Path]) -> None:
    said = sentences(swept)["Sweeps"].replace("\N{MINUS SIGN}", "-")
    assert "gpt2-250k: loss is lowest at a learning rate of 3e-3 [3e-3, 3e-3], 1.500 nats by a parabola" in said
    assert "gpt2-1m: the learning rate 1e-3 has the lowest loss of 4 runs" in said
    assert "1.548 nats: at an end of the values tried (1.6e-2 diverged)." in said
    sweeps.tabulate(swept.study, runs=swept.runs, **outputs)
    small, large = csv_rows(outputs["numbers"])
    assert float(small["minimum"]) == pytest.approx(3e-3)
    assert large["minimum"] == ""
    sweeps.draw(swept.study, runs=swept.runs, output=swept.root / "a.svg")
    assert "learning rate" in svg_text(swept.root / "a.svg")


def test_sizes_of_one_compute_have_a_best_one_and_its_growth(empty: Any) -> None:
    sizes = {name: parameters(empty.models[name]) for name in ("gpt2-250k", "gpt2-500k", "gpt2-1m")}
    for flops, best in ((1e12, 2.2e5), (4e12, 3.1e5), (1.6e13, 4.4e5)):
        for model, size in sizes.items():
            folder = empty.add_run(f"{model}-{flops:g}", model=model, recipe=f"c-{flops:g}", steps=100)
            summary = json.loads((folder / "summary.json").read_text())
            loss = 4 - 0.1 * math.log(flops) + 0.05 * math.log(size / best) ** 2
            summary |= {"tokens": round(flops / 6 / size), "validation_loss": loss}
            (folder / "summary.json").write_text(json.dumps(summary))
    evidence = evidence_of(empty)
    (said,) = [each for each in describe_law(evidence.runs, evidence.models) if "same compute" in each]
    assert "1e12 FLOP N = 220k" in said
    assert "N grows as C to the power of 0.25" in said
