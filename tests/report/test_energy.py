"""What the readings of meters come to in the report."""

import json
from pathlib import Path
from typing import Any

import pytest

from trainyard.config.settings import ENERGY, Energy, Prices
from trainyard.report.pages import energy as page
from trainyard.report.pages import trade_offs
from trainyard.report.pages.comparison import compare
from trainyard.report.render.format import significant
from trainyard.report.results.published import PUBLISHED
from trainyard.report.results.runs import read_runs
from trainyard.report.statistics.energy import describe_grid, read_usage
from trainyard.report.statistics.trade_offs import weigh_recipes

from .reading import csv_rows, evidence_of
from .sample_results import Results

READ: dict[str, Any] = {
    "launches": 1,
    "node_seconds": 3600.0,
    "device_seconds": 3600.0,
    "cpu_seconds": 1800.0,
    "machine_cpu_seconds": 7200.0,
    "memory_byte_seconds": 3600 * 2e9,
    "package_joules": None,
    "package_reason": "this machine shows no energy counter of its processor (RAPL)",
    "gpu_joules": None,
    "gpu_reason": None,
    "gpu_seconds": 0.0,
    "gpu_busy_seconds": 0.0,
}
ON_GPUS = {"gpu_joules": 7.2e6, "gpu_seconds": 7200.0, "gpu_busy_seconds": 5400.0, "device_seconds": 7200.0}
MODEL = (0.5 * 12 + 2 * 0.3725) / 1000  # half a core and two gigabytes for an hour, in kWh


def add(results: Results, run: str, device: str = "cpu", read: dict[str, Any] | None = None, **more: Any) -> Path:
    folder = results.add_run(run, **more)
    for file, change in (("summary", {"energy": READ | (read or {})}), ("spec", {"device": device})):
        content = json.loads((folder / f"{file}.json").read_text())
        (folder / f"{file}.json").write_text(json.dumps(content | change))
    return folder


def usage_of(results: Results, settings: Energy = ENERGY, prices: Prices | None = None) -> Any:
    (run,) = read_runs(results.runs)
    return read_usage(run, settings, prices)


def test_on_a_cpu_the_model_is_cpu_time_and_memory_times_watts_with_its_interval(empty: Results) -> None:
    add(empty, "r")
    found = usage_of(empty)
    assert (found.consumption.kind, found.packages) == ("model", None)
    assert found.consumption.kwh == pytest.approx(MODEL)
    assert found.consumption.interval == pytest.approx((0.6 * MODEL, 1.4 * MODEL))
    assert found.emissions == pytest.approx(MODEL * 0.473)
    assert (found.device_hours, found.cpu_utilisation, found.gpu_utilisation) == (1, 0.5, None)


def test_watts_the_building_and_the_grid_are_the_settings(empty: Results) -> None:
    add(empty, "r")
    grid = {"grams_per_kwh": 20, "source": "a provider"}
    settings = Energy.model_validate({"watts_per_core": 6, "watts_per_gb": 0, "pue": 1.5, "grid": grid})
    found = usage_of(empty, settings, Prices.model_validate({"currency": "EUR", "cpu": 2}))
    assert found.consumption.kwh == pytest.approx(0.003)
    assert found.emissions == pytest.approx(0.003 * 1.5 * 0.020)
    assert found.money == 2
    assert usage_of(empty, Energy.model_validate({"grid": None})).emissions is None
    assert usage_of(empty).money is None
    assert describe_grid(settings) == ("20 g CO2e/kWh: a provider, times 1.5 for what the building takes (PUE)")


@pytest.mark.parametrize(("own", "kind"), [(1800.0, "model"), (7000.0, "counter")])
def test_the_counter_of_a_processor_is_a_run_s_own_where_that_was_alone(empty: Results, own: float, kind: str) -> None:
    add(empty, "r", read={"package_joules": 3.6e5, "package_reason": None, "cpu_seconds": own})
    found = usage_of(empty)
    assert found.consumption.kind == kind
    assert found.packages.kwh == pytest.approx(0.1)


def test_on_gpus_their_counter_counts_alone(empty: Results) -> None:
    add(empty, "r", "cuda", ON_GPUS, processes=2)
    found = usage_of(empty)
    assert (found.consumption.kind, found.consumption.what, found.consumption.interval) == ("counter", "GPUs", None)
    assert found.consumption.kwh == pytest.approx(2)  # without that of the processors
    assert found.model.kwh == pytest.approx(MODEL)
    assert (found.gpu_utilisation, found.device_hours) == (0.75, 2)


def test_a_gpu_without_a_counter_has_no_class_but_a_reason(empty: Results, outputs: dict[str, Path]) -> None:
    add(empty, "r", "cuda", {"gpu_reason": "nvmlDeviceGetTotalEnergyConsumption: Not Supported", "gpu_seconds": 9.0})
    found = usage_of(empty)
    assert (found.consumption, found.emissions, found.gpu_utilisation) == (None, None, None)
    page.tabulate(empty.study, runs=empty.runs, energy=ENERGY, prices=None, **outputs)
    (row,) = csv_rows(outputs["numbers"])
    assert (row["kwh"], row["kwh_class"], float(row["processor_model"])) == ("", "none", pytest.approx(MODEL))
    assert "nvmlDeviceGetTotalEnergyConsumption: Not Supported" in outputs["table"].read_text()


def test_the_table_has_a_row_a_run_means_over_seeds_and_the_columns_that_it_can_fill(
    empty: Results, outputs: dict[str, Path]
) -> None:
    for seed, seconds in ((1, 1800.0), (2, 3600.0)):
        add(empty, f"base-{seed}", read={"cpu_seconds": seconds, "launches": seed}, seed=seed)
    empty.add_run("without", recipe="old")
    prices = Prices.model_validate({"currency": "EUR", "cpu": 0.05})
    page.tabulate(empty.study, runs=empty.runs, energy=ENERGY, prices=prices, **outputs)
    mean, *single = csv_rows(outputs["numbers"])
    assert [row["run"] for row in single] == ["base-1", "base-2"]
    assert float(mean["kwh"]) == pytest.approx(sum(float(row["kwh"]) for row in single) / 2)
    assert {row["kwh_class"] for row in (mean, *single)} == {"model"}
    assert [row["launches"] for row in single] == ["1", "2"]
    assert float(mean["money"]) == pytest.approx(0.05)
    assert not {"gpu", "packages", "processor_model"} & mean.keys()
    text = outputs["table"].read_text()
    assert "model ± 40 %" in text
    assert "473 g CO2e/kWh: world average of 2024 (Ember, Global Electricity Review 2025)." in text
    assert "EUR" in text


def test_seeds_of_different_classes_have_no_mean(empty: Results, outputs: dict[str, Path]) -> None:
    add(empty, "base-1", seed=1)
    add(empty, "base-2", read={"package_joules": 3.6e5, "cpu_seconds": 7200.0}, seed=2)
    page.tabulate(empty.study, runs=empty.runs, energy=ENERGY, prices=None, **outputs)
    mean, *single = csv_rows(outputs["numbers"])
    assert (mean["kwh"], mean["kg"], mean["device_hours"]) == ("", "", "1.0")
    assert [row["kwh_class"] for row in single] == ["model", "counter"]


def test_results_without_readings_have_an_empty_table_and_no_column(empty: Results, outputs: dict[str, Path]) -> None:
    empty.add_run("old")
    page.tabulate(empty.study, runs=empty.runs, energy=ENERGY, prices=None, **outputs)
    assert csv_rows(outputs["numbers"]) == []
    assert "No run of this study has readings of a meter" in outputs["table"].read_text()
    assert "kwh" not in {column.key for column in compare(empty.study, read_runs(empty.runs), [], []).columns}


def test_the_comparison_has_kilowatt_hours_with_their_class_and_those_that_were_published(empty: Results) -> None:
    add(empty, "r")
    published = [{"model": "m", "values": {"kwh": 0.0999}, "protocol": "p", "source": "s"}]
    study = empty.study.model_validate(empty.study.model_dump() | {"published": published})
    table = compare(study, read_runs(empty.runs), [], [])
    ours, theirs = (row.cells["kwh"] for row in table.rows)
    assert (ours.value, ours.detail) == (pytest.approx(MODEL), "model ± 40 %")
    assert (theirs.text, table.rows[1].section) == ("0.0999", PUBLISHED)


def test_trade_offs_compare_energy_of_one_class_and_say_what_to_take(empty: Results, outputs: dict[str, Path]) -> None:
    for seed in (1, 2):
        add(empty, f"base-{seed}", seed=seed)
        add(empty, f"half-{seed}", read={"cpu_seconds": 900.0, "memory_byte_seconds": 3.6e12}, seed=seed, recipe="half")
        other = {"package_joules": 36.0, "cpu_seconds": 7200.0}
        add(empty, f"other-{seed}", read=other, seed=seed, recipe="other")
    found = {each.recipe: each.costs for each in weigh_recipes(read_runs(empty.runs), [], {})}
    assert found["half"]["energy"].ratio == pytest.approx(0.5)
    assert found["half"]["energy"].direction == "less"
    assert "energy" not in found["other"]  # its counter is not to be compared with a model
    pairs = outputs["numbers"].with_name("interactions.csv")
    trade_offs.tabulate(empty.study, runs=empty.runs, evaluations=[], energy=ENERGY, interactions=pairs, **outputs)
    rows = {row["recipe"]: row["energy"] for row in csv_rows(outputs["numbers"])}
    assert (float(rows["half"]), rows["other"]) == (pytest.approx(0.5), "")
    (text,) = trade_offs.describe_trade_offs(evidence_of(empty))
    assert "; where energy does, take half (−50 % kWh, " in text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0999, "0.0999"), (0.000123456, "0.000123"), (151.6, "152"), (1.5, "1.50"), (0, "0"), (1e-12, "0.000000000")],
)
def test_quantities_of_any_size_have_three_digits(value: float, text: str) -> None:
    assert significant(value) == text
