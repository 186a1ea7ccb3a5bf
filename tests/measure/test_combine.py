"""A cell from its launches."""

import json
from pathlib import Path
from typing import Any

import pytest

from trainyard.measure.combine import combine

PEAK = {"device": "cpu", "device_name": "A", "precision": "fp32", "threads": 1, "flops": 1e11, "source": "measured"}


def launch(number: int, speed: float | None, **more: Any) -> dict[str, Any]:
    """The file of one launch of a cell that takes 100 tokens a step."""
    figures = ("samples_per_second", "tflops", "tflops_megatron", "peak_memory_increase", "breakdown")
    return {
        "cell": "c",
        "launch": number,
        "started": f"2026-01-01T0{number}:00:00+00:00",
        "outcome": "finished" if speed else "out-of-memory",
        "reason": None if speed else "rank 0",
        "tokens_per_second": speed,
        "step_seconds": speed and {"median": 100 / speed, "p10": 90 / speed, "p90": 110 / speed},
        **dict.fromkeys(figures),
        **({"tflops": speed / 1e5, "peak_memory_increase": 1000 + number} if speed else {}),
        "breakdown_reason": None,
        "device_name": "A" if speed else None,
        "other_load": {"before": 0.0, "during": number / 10} if speed else None,
        **more,
    }


def combined(folder: Path, *launches: dict[str, Any], peak: dict[str, Any] | None = PEAK) -> dict[str, Any]:
    files = []
    for row in launches:
        files.append(folder / f"launch{row['launch']}.json")
        files[-1].write_text(json.dumps(row))
    if peak:
        (folder / "peak.json").write_text(json.dumps(peak))
    combine(files, folder / "peak.json" if peak else None, folder / "cell.json")
    return json.loads((folder / "cell.json").read_text())


def test_speeds_are_geometric_means_so_that_a_step_and_its_rate_still_fit(tmp_path: Path) -> None:
    found = combined(tmp_path, launch(1, 50.0), launch(2, 100.0), launch(3, 200.0))
    assert found["tokens_per_second"] == pytest.approx(100)
    assert found["step_seconds"] == pytest.approx({"median": 1.0, "p10": 0.9, "p90": 1.1})
    assert [each["tokens_per_second"] for each in found["launches"]] == [50.0, 100.0, 200.0]
    assert "launch" not in found


def test_memory_is_of_the_launch_that_took_most_time_by_part_of_the_first_and_load_the_largest(tmp_path: Path) -> None:
    first = launch(1, 50.0, breakdown={"compute": 0.1}, breakdown_reason=None)
    found = combined(tmp_path, first, launch(2, 50.0, breakdown_reason="not looked at"))
    assert (found["peak_memory_increase"], found["breakdown"]) == (1002, {"compute": 0.1})
    assert (found["breakdown_reason"], found["other_load"]["during"]) == (None, 0.2)


def test_one_peak_makes_utilisation_proportional_to_speed(tmp_path: Path) -> None:
    slow, fast = (combined(tmp_path, launch(1, speed), launch(2, 1.1 * speed)) for speed in (50.0, 80.0))
    assert slow["mfu"] / fast["mfu"] == pytest.approx(slow["tokens_per_second"] / fast["tokens_per_second"])
    assert slow["peak_flops"] == fast["peak_flops"] == 1e11


def test_without_the_peak_of_its_processor_a_cell_has_no_utilisation(tmp_path: Path) -> None:
    found = combined(tmp_path, launch(1, 50.0, device_name="B"))
    assert (found["mfu"], found["mfu_reason"]) == (None, "it ran on B, and the peak is of A")
    assert combined(tmp_path, launch(1, 50.0), peak=None)["mfu"] is None


def test_a_cell_ends_as_the_first_launch_that_did_not_finish_and_a_crash_comes_first(tmp_path: Path) -> None:
    found = combined(tmp_path, launch(1, 50.0), launch(2, None))
    assert (found["outcome"], found["reason"], found["tokens_per_second"], found["mfu"]) == (
        "out-of-memory",
        "rank 0",
        None,
        None,
    )
    assert len(found["launches"]) == 2
    crashed = launch(3, None, outcome="failed", reason="a crash")
    assert combined(tmp_path, launch(1, 50.0), launch(2, None), crashed)["reason"] == "a crash"
