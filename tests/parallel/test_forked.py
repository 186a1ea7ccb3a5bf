"""Ranks that the tests of this folder and of trainings fork are ranks as a launch has them."""

from pathlib import Path

import psutil
import pytest

from trainyard.core.files import read_json
from trainyard.launch import launch


def ranks(folder: Path) -> list[dict]:
    return [read_json(folder / f"{rank}.json") for rank in range(2)]


def test_each_has_its_place_its_log_and_an_order_of_sets_of_its_own(tmp_path: Path) -> None:
    assert launch.launch("forked_driver", [str(tmp_path), "end"], 2, 1, tmp_path / "log") is None
    first, second = ranks(tmp_path)
    assert first["arguments"] == second["arguments"] == [str(tmp_path), "end"]
    assert first["world"] == second["world"] == 2
    assert first["order"] != second["order"]
    said = (tmp_path / "log").read_text()
    assert "rank 0 ends\n" in said
    assert "rank 1 ends\n" in said


def test_one_that_fails_is_named_with_its_error_and_ends_the_others(tmp_path: Path) -> None:
    with pytest.raises(launch.LaunchError, match=r"(?s)RuntimeError: one of two fails.*the last lines of"):
        launch.launch("forked_driver", [str(tmp_path), "fail"], 2, 1, tmp_path / "log")
    assert not any(psutil.pid_exists(each["pid"]) for each in ranks(tmp_path))
