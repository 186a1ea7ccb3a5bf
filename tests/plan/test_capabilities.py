"""What can't run here is said before it is started."""

from pathlib import Path

import pytest

from trainyard.config.catalogue import ParallelSetting
from trainyard.core.python_environment import Interpreter
from trainyard.hardware import gpus as module_of_gpus
from trainyard.plan import capabilities
from trainyard.plan.capabilities import Machine, explain_unsupported

ROOT = Path(__file__).resolve().parents[2]


def setting(**changes: object) -> ParallelSetting:
    return ParallelSetting.model_validate(
        {"title": "t", "engine": "ddp", "precision": ["fp32", "bf16", "fp16"], **changes}
    )


def test_a_missing_package_is_a_reason() -> None:
    needs = setting(packages=["no-such-package"])
    found = Machine("cpu").capabilities(needs, compiled=False)
    assert (
        explain_unsupported(needs, "gpt2", "fp32", 1, found) == "needs the package no-such-package, not installed here"
    )


def test_without_a_compiler_a_compiled_run_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    capabilities.has_compiler.cache_clear()
    found = Machine("cpu").capabilities(setting(), compiled=True)
    pinned = Machine("cpu").capabilities(setting(), compiled=True, environment={"torch": "2.0"})
    capabilities.has_compiler.cache_clear()
    said = "needs a C++ compiler (g++ or clang++), not found here"
    assert explain_unsupported(setting(), "gpt2", "fp32", 1, found) == said
    assert explain_unsupported(setting(), "gpt2", "fp32", 1, pinned) == said  # an environment of conda brings none


def test_a_python_without_headers_compiles_nothing_but_in_an_environment_of_conda(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(capabilities, "has_compiler", lambda: True)
    bare = Interpreter("3.13.5", (), str(tmp_path))
    monkeypatch.setattr(capabilities, "inspect_interpreter", lambda _: bare)

    def reason(compiled: bool, environment: dict[str, str] | None = None) -> str | None:
        found = Machine("cpu").capabilities(setting(), compiled, environment)
        return explain_unsupported(setting(), "gpt2", "fp32", 1, found)

    said = "needs Python's headers (Python.h; on Debian and Ubuntu the package python3-dev), not found here"
    assert reason(compiled=True) == said
    assert reason(compiled=False) is None
    assert reason(compiled=True, environment={"torch": "2.0"}) is None
    (tmp_path / "Python.h").touch()
    assert reason(compiled=True) is None


def test_a_path_with_spaces_is_a_reason_where_an_extension_is_built(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    builds = setting(compiler=True)
    monkeypatch.setattr(capabilities, "has_compiler", lambda: True)
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "my extensions"))
    found = Machine("cpu").capabilities(builds, compiled=False)
    assert explain_unsupported(builds, "gpt2", "fp32", 1, found) == (
        f"builds a C++ extension, which torch can't link in a path with spaces ({tmp_path}/my extensions)"
    )
    assert (
        explain_unsupported(setting(), "gpt2", "fp32", 1, Machine("cpu").capabilities(setting(), compiled=False))
        is None
    )
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "extensions"))
    assert explain_unsupported(builds, "gpt2", "fp32", 1, Machine("cpu").capabilities(builds, compiled=False)) is None


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where a driver shows its GPUs: two, unless a test removes them."""
    for address in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / "gpus" / address).mkdir(parents=True)
    monkeypatch.setattr(module_of_gpus, "_DRIVER", tmp_path / "gpus")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return tmp_path / "gpus"


def test_more_processes_than_gpus_is_a_reason(gpus: Path) -> None:
    on_gpu, on_cpu = (Machine(device).capabilities(setting(), compiled=False) for device in ("cuda", "cpu"))
    assert capabilities.find_device() == "cuda"
    assert explain_unsupported(setting(), "gpt2", "fp32", 2, on_gpu) is None
    assert explain_unsupported(setting(), "gpt2", "fp32", 4, on_gpu) == "needs 4 GPUs, 2 here"
    assert explain_unsupported(setting(), "gpt2", "fp32", 4, on_cpu) is None


def test_where_no_gpu_is_seen_a_cluster_may_have_enough(gpus: Path) -> None:
    on_gpu = Machine("cuda").capabilities(setting(), compiled=False)
    for path in gpus.iterdir():
        path.rmdir()
    assert capabilities.find_device() == "cpu"
    assert explain_unsupported(setting(), "gpt2", "fp32", 4, on_gpu) is None


def test_another_number_of_gpus_reruns_nothing_that_has_enough(gpus: Path) -> None:
    before = Machine("cuda").capabilities(setting(), compiled=False)
    next(gpus.iterdir()).rmdir()
    assert Machine("cuda").capabilities(setting(), compiled=False) == before


def test_gpus_that_the_user_hides_are_not_there(gpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_gpu = Machine("cuda").capabilities(setting(), compiled=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert explain_unsupported(setting(), "gpt2", "fp32", 2, on_gpu) == "needs 2 GPUs, 1 here"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert capabilities.find_device() == "cpu"


def test_a_window_of_attention_is_for_engines_in_transformers_5() -> None:
    here = Machine("cpu").capabilities(setting(), compiled=False)
    assert explain_unsupported(setting(), "gpt2", "fp32", 1, here, {"attention": {"window": 8}}) is None
    other = setting(engine="colossalai", options={"plugin": "torch-ddp"})
    assert explain_unsupported(other, "gpt2", "fp32", 1, here) is None
    said = explain_unsupported(other, "gpt2", "fp32", 1, here, {"attention": {"window": 8}})
    assert (
        said
        == "does not train within a window of attention, which needs transformers 5; ColossalAI's environment has 4.51"
    )


@pytest.mark.parametrize("optimizer", ["muon", "adafactor"])
def test_an_optimizer_of_whole_matrices_is_for_engines_that_hold_them(optimizer: str) -> None:
    here, train = Machine("cpu").capabilities(setting(), compiled=False), {"optimizer": optimizer}
    for engine in ("single", "ddp"):
        assert explain_unsupported(setting(engine=engine), "gpt2", "fp32", 1, here, train) is None
    for engine in ("zero1", "fsdp", "tensor", "deepspeed", "colossalai"):
        said = explain_unsupported(setting(engine=engine), "gpt2", "fp32", 1, here, train)
        assert (
            said == f"does not train with {optimizer}, which steps whole matrices; the engines single, ddp, pipeline do"
        )


def test_a_precision_or_a_setting_may_want_a_gpu() -> None:
    on_cpu, on_gpu = (Machine(device).capabilities(setting(), compiled=False) for device in ("cpu", "cuda"))
    half, whole = setting(gpu_precision=["fp16"]), setting(gpu=True)
    said = "fp16 needs a GPU: on CPUs it trains in fp32 or bf16"
    assert explain_unsupported(half, "gpt2", "fp16", 1, on_cpu) == said
    assert explain_unsupported(half, "gpt2", "fp32", 1, on_cpu, {"tf32": True}) == "tf32 needs an NVIDIA GPU, none here"
    assert explain_unsupported(half, "gpt2", "fp32", 1, on_gpu, {"tf32": True}) is None
    assert explain_unsupported(half, "gpt2", "bf16", 1, on_cpu) is None
    assert explain_unsupported(whole, "gpt2", "fp32", 1, on_cpu) == "needs an NVIDIA GPU, none here"
    assert explain_unsupported(half, "gpt2", "fp16", 1, on_gpu) is None
    assert explain_unsupported(whole, "gpt2", "fp32", 1, on_gpu) is None


@pytest.mark.parametrize("engine", ["single", "ddp", "zero1", "fsdp", "pipeline", "deepspeed"])
def test_adapters_are_trained_by_these_engines_where_peft_is_installed(engine: str) -> None:
    needs = setting(engine=engine, options={"level": 2} if engine == "deepspeed" else {})
    there = Machine("cpu").capabilities(needs, compiled=False, lora=True)
    assert there["packages"]["peft"]
    assert explain_unsupported(needs, "gpt2", "fp32", 2, there, {"lora": {}}) is None
    without = {**there, "packages": there["packages"] | {"peft": None}}
    said = "needs the package peft, not installed here"
    assert explain_unsupported(needs, "gpt2", "fp32", 2, without, {"lora": {}}) == said


def test_adapters_are_no_matter_of_other_engines() -> None:
    for engine, options in (("tensor", {}), ("colossalai", {"plugin": "torch-ddp"})):
        needs = setting(engine=engine, options=options)
        found = Machine("cpu").capabilities(needs, compiled=False)
        said = "does not train adapters (lora); the engines single, ddp, zero1, fsdp, pipeline, deepspeed do"
        assert explain_unsupported(needs, "gpt2", "fp32", 2, found, {"lora": {}}) == said
        assert explain_unsupported(needs, "gpt2", "fp32", 2, found) is None


def test_what_no_machine_can_do_is_said_first() -> None:
    found = Machine("cpu").capabilities(setting(packages=["no-such-package"]), compiled=False)
    for changes, family, precision, processes, said in (
        ({"families": ["gpt2", "opt"]}, "t5", "fp32", 1, "does not spread t5 models (it does gpt2, opt)"),
        ({"precision": ["fp32"]}, "gpt2", "bf16", 1, "does not train in bf16 (it does in fp32)"),
        ({"one_process": True}, "gpt2", "fp32", 2, "runs in one process, not in 2"),
        ({"tensor": 2, "pipeline": 2}, "gpt2", "fp32", 6, "needs a multiple of 4 processes, not 6"),
    ):
        needs = setting(packages=["no-such-package"], **changes)
        assert explain_unsupported(needs, family, precision, processes, found) == said  # pyright: ignore[reportArgumentType]
    assert (
        explain_unsupported(setting(tensor=2), "t5", "fp32", 4, Machine("cpu").capabilities(setting(), False)) is None
    )


@pytest.mark.parametrize(
    ("version", "reason"),
    [("4.51.3", None), ("5.23.0", "needs pretend<5, 5.23.0 here"), ("5.0rc1", "needs pretend<5, 5.0rc1 here")],
)
def test_a_package_may_be_of_the_wrong_version(version: str, reason: str | None) -> None:
    needs = setting(packages=["pretend<5"])
    found = Machine("cpu").capabilities(needs, compiled=False, environment={"pretend": version})
    assert found["packages"] == {"pretend": version}
    assert explain_unsupported(needs, "gpt2", "fp32", 1, found) == reason


def test_a_library_is_there_when_its_header_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    needs = setting(libraries=["libaio"])
    (tmp_path / "libaio.h").touch()
    capabilities.has_library.cache_clear()
    monkeypatch.setenv("CPATH", f"/nowhere:{tmp_path}")
    there = Machine("cpu").capabilities(needs, compiled=False)
    capabilities.has_library.cache_clear()
    assert explain_unsupported(needs, "gpt2", "fp32", 1, there) is None
    said = "needs the header of libaio, not found here"
    assert explain_unsupported(needs, "gpt2", "fp32", 1, there | {"libraries": {"libaio": False}}) == said


def test_a_row_heals_when_the_environment_has_the_package() -> None:
    needs = setting(packages=["no-such-package"])
    there = Machine("cpu").capabilities(needs, compiled=False, environment={"no-such-package": "1.0"})
    assert explain_unsupported(needs, "gpt2", "fp32", 1, there) is None
