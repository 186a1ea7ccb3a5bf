"""Energy counters: RAPL by a tree as the kernel lays it, NVML where there is a GPU."""

import shutil
import time
from pathlib import Path

import pytest

from trainyard.hardware.energy_counters import CounterError, GpuCounters, PackageCounters, advance

RANGE = 262_143_328_850
"""Of Intel's counters of a package, in microjoules."""


def lay(root: Path, name: str, title: str, microjoules: int) -> Path:
    """A zone of powercap, which is known by the file `name`; a zone in another has its number after that one's."""
    folder = root / name
    folder.mkdir(parents=True)
    for file, content in (("name", title), ("energy_uj", microjoules), ("max_energy_range_uj", RANGE)):
        (folder / file).write_text(f"{content}\n")
    return folder / "energy_uj"


@pytest.mark.parametrize(
    ("last", "now", "range_", "grown"), [(5, 9, 100, 4), (5, 5, 100, 0), (90, 10, 100, 20), (90, 10, None, 10)]
)
def test_a_counter_goes_around_or_begins_anew(last: int, now: int, range_: int | None, grown: int) -> None:
    assert advance(last, now, range_) == grown


def test_packages_and_their_memory_count_and_what_is_part_of_them_does_not(tmp_path: Path) -> None:
    counted = [
        lay(tmp_path, "intel-rapl:0", "package-0", 1_000_000),
        lay(tmp_path, "intel-rapl:1", "package-1", RANGE - 2_000_000),
        lay(tmp_path, "intel-rapl:0:1", "dram", 7),
    ]
    left_out = [
        lay(tmp_path, "intel-rapl:0:0", "core", 1),
        lay(tmp_path, "intel-rapl:2", "psys", 1),
    ]
    (tmp_path / "intel-rapl").mkdir()
    counters = PackageCounters(tmp_path)
    for file in left_out:
        file.write_text("900000000\n")
    for file, now in zip(counted, (4_000_000, 1_000_000, 500_007), strict=True):
        file.write_text(f"{now}\n")
    assert counters.joules() == 3 + 3 + 0.5  # the second went around
    counted[0].write_text("5000000\n")
    assert counters.joules() == 7.5
    counted[0].write_text("\n")
    with pytest.raises(CounterError, match="can't be read"):
        counters.joules()


def test_a_machine_without_counters_says_so(tmp_path: Path) -> None:
    with pytest.raises(CounterError, match="shows no energy counter of its processor"):
        PackageCounters(tmp_path)


def test_a_counter_that_is_not_for_this_user_says_so(tmp_path: Path) -> None:
    lay(tmp_path, "intel-rapl:0", "package-0", 1).unlink()
    (tmp_path / "intel-rapl:0" / "energy_uj").mkdir()  # who reads it gets an error, root too
    with pytest.raises(CounterError, match=r"can't be read: .*energy_uj"):
        PackageCounters(tmp_path)


def test_a_part_of_a_gpu_has_no_counter_of_its_own() -> None:
    with pytest.raises(CounterError, match=r"MIG.* has no energy counter"):
        GpuCounters(["0", "MIG-1"])


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="there is a driver")
def test_without_a_driver_there_is_no_counter() -> None:
    with pytest.raises(CounterError, match=r"libnvidia-ml\.so\.1 is not there"):
        GpuCounters(["0"])


@pytest.mark.skipif(shutil.which("nvidia-smi") is None, reason="there is no GPU")
def test_the_counter_of_a_gpu_grows_by_watts_that_a_gpu_takes() -> None:
    counters = GpuCounters(["0"])
    began = time.monotonic()
    time.sleep(2)
    watts = counters.joules() / (time.monotonic() - began)
    assert 5 < watts < 2000
    assert 0 <= counters.utilisation() <= 1
    counters.close()
    with pytest.raises(CounterError, match="nvmlDeviceGetHandle"):
        GpuCounters(["99"])
