"""A pretend driver's folder, and what CUDA_VISIBLE_DEVICES makes of it."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from trainyard.hardware import gpus
from trainyard.hardware.gpus import Gpu

PLACES = ("0000:01:00.0", "0000:41:00.0", "0000:81:00.0")


@pytest.fixture(autouse=True)
def driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Three GPUs; nothing has used the last, so that the driver doesn't tell its UUID."""
    for place, uuid in zip(PLACES, ("GPU-1f00-11", "GPU-2e00-22", "GPU-????-??"), strict=True):
        (tmp_path / place).mkdir()
        (tmp_path / place / "information").write_text(f"Model: \t Pretend\nGPU UUID: \t {uuid}\nDevice Minor: \t 0\n")
    monkeypatch.setattr(gpus, "_DRIVER", tmp_path)
    monkeypatch.delenv(gpus.VARIABLE, raising=False)
    return tmp_path


def found(monkeypatch: pytest.MonkeyPatch, visible: str) -> Iterable[Gpu] | None:
    monkeypatch.setenv(gpus.VARIABLE, visible)
    return gpus.find_gpus()


def test_without_the_variable_they_are_the_drivers() -> None:
    assert gpus.find_gpus() == [Gpu(str(number), place) for number, place in enumerate(PLACES)]


def test_names_of_the_user_are_kept_in_his_order(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(monkeypatch, "2, 0") == [Gpu("2", PLACES[2]), Gpu("0", PLACES[0])]


def test_a_number_and_a_uuid_may_be_the_same_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(monkeypatch, "GPU-2e00") == [Gpu("GPU-2e00", PLACES[1])]
    assert found(monkeypatch, "1") == [Gpu("1", PLACES[1])]


def test_parts_and_uuids_that_the_driver_does_not_tell_stand_for_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(monkeypatch, "MIG-7,GPU-3d") == [Gpu("MIG-7", "MIG-7"), Gpu("GPU-3d", "GPU-3d")]


@pytest.mark.parametrize(("visible", "names"), [("", []), ("-1", []), ("1,-1,2", ["1"]), ("0,7,1", ["0"])])
def test_what_stands_behind_a_gpu_that_there_is_not_does_not_count(
    monkeypatch: pytest.MonkeyPatch, visible: str, names: list[str]
) -> None:
    assert [gpu.name for gpu in found(monkeypatch, visible) or []] == names


def test_where_no_driver_runs_nothing_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gpus, "_DRIVER", tmp_path / "none")
    assert found(monkeypatch, "0,1") is None
