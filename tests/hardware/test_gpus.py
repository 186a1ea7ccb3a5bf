"""A pretend driver's folder, and what CUDA_VISIBLE_DEVICES makes of it."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from trainyard.hardware import gpus
from trainyard.hardware.gpus import Gpu

PLACES = ("0000:01:00.0", "0000:41:00.0", "0000:81:00.0")


@pytest.fixture(autouse=True)
def driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Three GPUs; nothing has used the last, so that the driver doesn't tell its UUID."""
    for place, uuid in zip(PLACES, ("GPU-1f00-11", "GPU-2e00-22", "GPU-????-??"), strict=True):
        (tmp_path / place).mkdir()
        (tmp_path / place / "information").write_text(f"Model: \t Pretend\nGPU UUID: \t {uuid}\nDevice Minor: \t 0\n")
    monkeypatch.setattr(gpus, "_DRIVER", tmp_path)
    monkeypatch.setattr(gpus, "_SLICES", tmp_path.parent / "capabilities")
    monkeypatch.delenv(gpus.VARIABLE, raising=False)
    yield tmp_path
    gpus.ask_nvidia_smi.cache_clear()


def answer(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str) -> None:
    """A program of the name nvidia-smi that prints this, and no other."""
    folder.mkdir()
    (folder / "text").write_text(text)
    (folder / "nvidia-smi").write_text(f'#!/bin/sh\n[ "$1" = -L ] && exec /bin/cat {folder}/text\n')
    (folder / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    gpus.ask_nvidia_smi.cache_clear()


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


TWO = """\
GPU 0: NVIDIA GeForce RTX 3090 (UUID: GPU-9dfd5c31-d2d7-1f2f-8d7a-b1d3a4f3e5b6)
GPU 1: NVIDIA GeForce RTX 3090 (UUID: GPU-5b0c5e94-6d04-2f6c-0b75-3c2f2e6f1d10)
"""
SLICED = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77)
  MIG 3g.20gb     Device  0: (UUID: MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f)
  MIG 2g.10gb     Device  1: (UUID: MIG-cba663e8-9bed-5b25-b243-5985ef7c9beb)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-0a1b2c3d-d33d-2b2c-524d-9e3d8d2b8a77)
GPU 2: NVIDIA A100-SXM4-40GB (UUID: GPU-e86cb44c-6756-fd30-cd4a-1e6da3caf9b0)
  MIG 1g.5gb Device 0: (UUID: MIG-GPU-e86cb44c-6756-fd30-cd4a-1e6da3caf9b0/7/0)
"""


def test_where_no_driver_has_a_folder_nvidia_smi_tells(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gpus, "_DRIVER", tmp_path / "none")
    answer(monkeypatch, tmp_path / "bin", TWO)
    places = [each.uuid for each in gpus.parse_listing(TWO)]
    assert gpus.find_gpus() == [Gpu("0", places[0]), Gpu("1", places[1])]
    assert found(monkeypatch, "1") == [Gpu("1", places[1])]
    assert found(monkeypatch, "GPU-5b0c") == [Gpu("GPU-5b0c", places[1])]
    assert gpus.read_gpu_models() == ["NVIDIA GeForce RTX 3090"] * 2


def test_of_a_gpu_that_is_divided_the_parts_count(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, driver: Path
) -> None:
    answer(monkeypatch, tmp_path / "bin", SLICED)
    (driver.parent / "capabilities" / "gpu0" / "mig" / "gi1").mkdir(parents=True)
    assert [gpu.name for gpu in gpus.find_gpus() or []] == [
        "MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f",
        "MIG-cba663e8-9bed-5b25-b243-5985ef7c9beb",
        "1",
        "MIG-GPU-e86cb44c-6756-fd30-cd4a-1e6da3caf9b0/7/0",
    ]


@pytest.mark.parametrize(
    ("visible", "number", "index", "after"),
    [
        ("MIG-a, MIG-b", 1, 0, "MIG-b"),
        ("MIG-a", 0, 0, "MIG-a"),
        ("MIG-a,1", 1, 0, "1"),  # of two GPUs one is divided
        ("MIG-a", 1, 1, "MIG-a"),  # one process too many, which says so when it starts
        ("0,1", 1, 1, "0,1"),
        ("", 1, 1, ""),
    ],
)
def test_a_process_sees_its_own_of_several_parts(
    monkeypatch: pytest.MonkeyPatch, visible: str, number: int, index: int, after: str
) -> None:
    monkeypatch.setenv(gpus.VARIABLE, visible)
    assert gpus.see_own_slice(number) == index
    assert os.environ[gpus.VARIABLE] == after


def test_where_no_driver_runs_nothing_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gpus, "_DRIVER", tmp_path / "none")
    answer(monkeypatch, tmp_path / "bin", "No devices found.\n")
    assert found(monkeypatch, "0,1") is None
