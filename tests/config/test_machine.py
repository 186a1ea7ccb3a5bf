"""What can't run here is said before it is started."""

from pathlib import Path

import pytest
import yaml

from trainyard.config import machine
from trainyard.config.catalogue import ParallelSetting
from trainyard.config.machine import Machine, pins, unsupported

ROOT = Path(__file__).resolve().parents[2]


def setting(**changes: object) -> ParallelSetting:
    return ParallelSetting.model_validate(
        {"title": "t", "engine": "ddp", "precision": ["fp32", "bf16", "fp16"], **changes}
    )


def test_a_missing_package_is_a_reason() -> None:
    needs = setting(packages=["no-such-package"])
    capabilities = Machine("cpu").capabilities(needs, compiled=False)
    assert unsupported(needs, "fp32", 1, capabilities) == "needs the package no-such-package, not installed here"


def test_without_a_compiler_a_compiled_run_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    machine.has_compiler.cache_clear()
    capabilities = Machine("cpu").capabilities(setting(), compiled=True)
    pinned = Machine("cpu").capabilities(setting(), compiled=True, environment={"torch": "2.0"})
    machine.has_compiler.cache_clear()
    said = "needs a C++ compiler (g++ or clang++), not found here"
    assert unsupported(setting(), "fp32", 1, capabilities) == said
    assert unsupported(setting(), "fp32", 1, pinned) == said  # an environment of conda brings none


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where a driver shows its GPUs: two, unless a test removes them."""
    for address in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / "gpus" / address).mkdir(parents=True)
    monkeypatch.setattr(machine, "_GPUS", tmp_path / "gpus")
    return tmp_path / "gpus"


def test_more_processes_than_gpus_is_a_reason(gpus: Path) -> None:
    on_gpu, on_cpu = (Machine(device).capabilities(setting(), compiled=False) for device in ("cuda", "cpu"))
    assert machine.find_device() == "cuda"
    assert unsupported(setting(), "fp32", 2, on_gpu) is None
    assert unsupported(setting(), "fp32", 4, on_gpu) == "needs 4 GPUs, 2 here"
    assert unsupported(setting(), "fp32", 4, on_cpu) is None


def test_where_no_gpu_is_seen_a_cluster_may_have_enough(gpus: Path) -> None:
    on_gpu = Machine("cuda").capabilities(setting(), compiled=False)
    for path in gpus.iterdir():
        path.rmdir()
    assert machine.find_device() == "cpu"
    assert unsupported(setting(), "fp32", 4, on_gpu) is None


def test_another_number_of_gpus_reruns_nothing_that_has_enough(gpus: Path) -> None:
    before = Machine("cuda").capabilities(setting(), compiled=False)
    next(gpus.iterdir()).rmdir()
    assert Machine("cuda").capabilities(setting(), compiled=False) == before


def test_fp16_wants_a_gpu() -> None:
    on_cpu = Machine("cpu").capabilities(setting(), compiled=False)
    on_gpu = Machine("cuda").capabilities(setting(), compiled=False)
    assert unsupported(setting(), "fp16", 1, on_cpu) == "fp16 needs a GPU: CPUs train in fp32 or bf16"
    assert unsupported(setting(), "fp16", 1, on_gpu) is None


def test_a_row_heals_when_the_environment_has_the_package() -> None:
    needs = setting(packages=["no-such-package"])
    there = Machine("cpu").capabilities(needs, compiled=False, environment={"no-such-package": "1.0"})
    assert unsupported(needs, "fp32", 1, there) is None


@pytest.mark.parametrize("environment", sorted((ROOT / "envs").glob("*.yaml")), ids=lambda path: path.stem)
def test_environments_pin_what_the_lock_pins(environment: Path) -> None:
    lock = (ROOT / "requirements.lock").read_text().lower().replace("_", "-").split()
    packages = {name: version for name, version in pins(environment).items() if name not in ("python", "pip")}
    assert packages
    assert [name for name, version in packages.items() if f"{name}=={version}" not in lock] == []
    assert all(
        "==" in line
        for entry in yaml.safe_load(environment.read_text())["dependencies"]
        if isinstance(entry, dict)
        for line in entry["pip"]
    )
