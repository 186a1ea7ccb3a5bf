"""The peak of a machine, measured once, and what is a share of it: real cells on a real processor."""

import json
from pathlib import Path
from typing import Any

import pytest

from trainyard.hardware.cpu import processor_name
from trainyard.measure import peak, throughput
from trainyard.measure.combine import combine

from .test_throughput import cell

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of this machine's peak in fp32 with one thread."""
    folder = tmp_path_factory.mktemp("peak")
    peak.measure({"device": "cpu", "precision": "fp32", "threads": 1}, folder / "peak.json", folder / "log")
    return folder / "peak.json"


def test_a_peak_says_what_it_is_of_how_it_was_measured_and_how_far_it_spread(file: Path) -> None:
    found = json.loads(file.read_text())
    assert (found["device"], found["precision"], found["threads"]) == ("cpu", "fp32", 1)
    assert found["device_name"] == processor_name()
    assert found["flops"] == max(found["rates"]) > 1e8
    assert len(found["rates"]) == 5
    assert ", 1 thread, of 5 repeats" in found["source"]
    assert {"before", "during"} == found["other_load"].keys()


def measured(folder: Path, file: Path, batch: int) -> dict[str, Any]:
    for number in (1, 2):
        given = {**cell(batch=batch, profiled_steps=0), "launch": number}
        throughput.measure(given, folder / f"launch{number}.json", folder / "log")
    combine([folder / f"launch{number}.json" for number in (1, 2)], file, folder / "cell.json")
    return json.loads((folder / "cell.json").read_text())


def test_of_two_cells_of_one_model_utilisation_is_in_proportion_to_speed(tmp_path: Path, file: Path) -> None:
    found = []
    for batch in (1, 4):
        (tmp_path / str(batch)).mkdir()
        found.append(measured(tmp_path / str(batch), file, batch))
    small, large = found
    assert small["peak_flops"] == large["peak_flops"] == json.loads(file.read_text())["flops"]
    assert 0 < small["mfu"] < 1
    assert large["mfu"] / small["mfu"] == pytest.approx(large["tokens_per_second"] / small["tokens_per_second"])
