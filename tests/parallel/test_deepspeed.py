import fcntl
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine_settings import engine_settings
from trainyard.config.engine_options import parse_options
from trainyard.core.errors import InputError
from trainyard.parallel.deepspeed import extensions
from trainyard.parallel.deepspeed.config import Size, count_locked_bytes, make_config

SIZE = Size(parameters=1_000_000, largest=300_001, processes=2)
INFINITY = {"level": 3, "offload_optimizer": "nvme", "offload_parameters": "nvme"}


def options(**given):
    return parse_options("deepspeed", given)


def test_an_unknown_option_is_a_users_error_that_names_the_file_and_the_nearest():
    with pytest.raises(InputError, match=r"config/parallel\.yaml: options.*did you mean 'offload_optimizer'"):
        options(level=2, ofload_optimizer="cpu")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"level": 2, "offload_parameters": "cpu"}, "offload_parameters needs level: 3"),
        ({"level": 2, "offload_optimizer": "nvme"}, "offload_optimizer: nvme needs level: 3"),
        ({"level": 2, "sub_group": 10}, "sub_group needs level: 3"),
        ({"level": 0, "offload_optimizer": "cpu"}, "offload_optimizer needs level: 1, 2 or 3"),
        ({"level": 3, "offload_parameters": "nvme"}, "offload_parameters: nvme needs offload_optimizer: nvme"),
        ({"level": 3, "offload_optimizer": "disk"}, "offload_optimizer: 'disk' is not allowed"),
        ({"level": 4}, "level"),
    ],
)
def test_options_that_do_not_fit_each_other_are_a_users_error_that_says_why(given, said):
    with pytest.raises(InputError, match=said):
        options(**given)


def test_deepspeed_is_always_told_its_clipping_since_it_clips_at_one_otherwise():
    for stage in range(4):
        for clip, told in ((None, 0.0), (0.5, 0.5)):
            settings = engine_settings(max_grad_norm=clip, options={"level": stage})
            assert make_config(settings, SIZE)["gradient_clipping"] == told


def test_buffers_are_no_larger_than_the_model_unless_told():
    zero = make_config(engine_settings(options={"level": 3}), SIZE)["zero_optimization"]
    assert zero["reduce_bucket_size"] == zero["stage3_prefetch_bucket_size"] == 1_000_000
    assert zero["stage3_param_persistence_threshold"] == 10_000
    told = {"level": 3, "reduce_bucket": 7, "prefetch_bucket": 0, "persistence_threshold": 0, "sub_group": 9}
    zero = make_config(engine_settings(options=told), SIZE)["zero_optimization"]
    assert (zero["reduce_bucket_size"], zero["stage3_prefetch_bucket_size"]) == (7, 0)
    assert (zero["stage3_param_persistence_threshold"], zero["sub_group_size"]) == (0, 9)


@pytest.mark.parametrize(("largest", "elements"), [(1_000, 6_553_600), (38_597_376, 38_597_376)])
def test_on_a_gpu_buckets_are_ddps_or_hold_the_largest_parameter_and_travel_while_others_fill(largest, elements):
    for level in range(4):
        settings = engine_settings(device="cuda", options={"level": level})
        zero = make_config(settings, Size(124_000_000, largest, 2))["zero_optimization"]
        assert zero["reduce_bucket_size"] == elements
        assert zero.get("overlap_comm", level == 3) == (level >= 2)  # by default at level 3 alone
    small = make_config(engine_settings(device="cuda", options={"level": 2}), SIZE)["zero_optimization"]
    assert small["reduce_bucket_size"] == SIZE.parameters
    assert "overlap_comm" not in make_config(engine_settings(options={"level": 2}), SIZE)["zero_optimization"]


def test_swapped_parameters_stay_on_the_disk_and_fit_their_buffers(tmp_path):
    zero = make_config(engine_settings(options=INFINITY, scratch=tmp_path), SIZE)["zero_optimization"]
    assert zero["offload_param"]["max_in_cpu"] == 0
    assert zero["offload_param"]["buffer_size"] == 150_001
    assert zero["offload_optimizer"]["nvme_path"] == str(tmp_path)


def test_memory_that_may_not_be_locked_is_an_outcome_that_names_the_remedy(monkeypatch):
    monkeypatch.setattr(extensions, "_is_exempt", lambda: False)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (8 * 2**20, 8 * 2**20))
    extensions.require_lockable(8 * 2**20)
    with pytest.raises(MemoryError, match=r"lock 9 MiB .* may lock 8 MiB.*sub_group"):
        extensions.require_lockable(9 * 2**20)


def test_smaller_sub_groups_lock_less_memory():
    whole = count_locked_bytes(engine_settings(options=INFINITY), SIZE)
    small = count_locked_bytes(engine_settings(options={**INFINITY, "sub_group": 50_000}), SIZE)
    assert whole == 16 * 500_000 + 4 * (5 * 150_001 + 2 * 500_000)
    assert small == 16 * 200_001 + 4 * (5 * 150_001 + 2 * 200_001)


def test_a_folder_of_extensions_with_a_space_in_its_path_is_a_users_error(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "my extensions"))
    with pytest.raises(InputError, match="path with spaces; set TORCH_EXTENSIONS_DIR"):
        extensions.load_async_io()


def test_a_build_that_was_killed_leaves_nothing_that_the_next_waits_for_or_takes(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    folder = extensions.extensions_folder()
    built = []
    monkeypatch.setattr(extensions, "_load", lambda name, path: built.append((name, path.exists())))
    killed = """
import time
from trainyard.parallel.deepspeed import extensions
def build(folder):
    (folder / "async_io").mkdir()
    (folder / "async_io" / "lock").touch()   # torch's own
    (folder / "async_io" / "async_io.so").touch()
    print("building", flush=True)
    time.sleep(60)
extensions._build = build
extensions.load_async_io()
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(extensions.__file__).parents[3])}
    with subprocess.Popen([sys.executable, "-c", killed], stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"building\n"
        with (folder / "lock").open("ab") as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        process.kill()
    attempts = []

    def build(attempt):
        attempts.append(list(folder.glob("attempt-*")))
        for name in ("pin_memory", "async_io"):
            (attempt / name).mkdir()
            (attempt / name / f"{name}.so").touch()

    monkeypatch.setattr(extensions, "_build", build)
    start = time.monotonic()
    extensions.load_async_io()
    extensions.load_async_io()
    assert time.monotonic() - start < 20
    assert [len(left) for left in attempts] == [1]
    assert built == [("pin_memory", True), ("async_io", True)]
    assert not list(folder.rglob("async_io/lock"))


def test_a_build_that_fails_is_a_users_error_that_says_what_it_takes(tmp_path, monkeypatch):
    class Builder:
        def load(self, verbose):
            raise RuntimeError("Error building extension 'pin_memory'")

    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    monkeypatch.setattr(extensions, "_builder", lambda _: Builder())
    with pytest.raises(InputError, match=r"(?s)pin_memory can't be built here.*libaio-dev"):
        extensions.load_async_io()
    assert not (extensions.extensions_folder() / "built").exists()


@pytest.fixture(scope="module")
def looks(drive):
    """What one launch of two processes saw."""
    return drive(2, driver="deepspeed_driver", looks=["clipping", "overflow", "precision"], closing=True)


def largest(ours, theirs):
    return max(abs(our - their) for our, their in zip(ours, theirs, strict=True))


@pytest.mark.slow
def test_below_fp32_zero_loses_just_what_fsdp_does_and_level_0_what_ddp_does(looks):
    found = looks["precision"]
    for name in ("zero1", "zero2", "zero3", "zero3-offload"):
        assert largest(found[name], found["fsdp"]) < 1e-6, name
    assert largest(found["zero0"], found["ddp"]) < 1e-6
    assert 0 < largest(found["fsdp"], found["ddp in fp32"]) < 1e-2


@pytest.mark.slow
def test_in_fp16_each_step_tells_its_loss_scale_and_none_is_skipped_without_need(looks):
    found = looks["precision"]
    for name in ("zero0", "zero1", "zero2", "zero3", "zero3-offload"):
        assert largest(found[f"{name} in fp16"], found["ddp in fp32"]) < 1e-2, name
        assert found[f"scale of {name}"] == [[2.0**16, False]] * 20, name


@pytest.mark.slow
def test_in_fp16_a_step_whose_gradient_overflows_changes_no_weight_and_halves_the_initial_loss_scale(looks):
    for stage, found in looks["overflow"].items():
        assert found["scales"] == [2.0**31, 2.0**30], stage
        assert found["skipped"][0], stage
        assert found["unchanged"], stage


@pytest.mark.slow
def test_deepspeeds_engine_is_gone_before_the_group_is_left(looks):
    assert looks["closing"]["gone"] == [True]


@pytest.mark.slow
def test_clipping_that_is_left_to_deepspeed_moves_the_loss_and_ours_does_not(looks):
    found = looks["clipping"]
    assert largest(found["stated"], found["left out"]) > 1e-3


@pytest.fixture(scope="module")
def swapping(drive):
    return drive(2, driver="deepspeed_driver", looks=["swapping"])["swapping"]


@pytest.mark.slow
def test_what_lies_in_files_trains_as_what_lies_in_memory(swapping):
    assert largest(swapping["optimizer"], swapping["none"]) < 1e-6
    assert largest(swapping["parameters"], swapping["none"]) < 1e-6


@pytest.mark.slow
def test_optimizer_and_parameters_really_lie_in_files_and_in_fp32(swapping):
    part = 4200 * 128 // 2  # of the embedding, the one parameter that is large enough
    states = swapping["files of optimizer"]
    assert sum("exp_avg" in path for path in states) == 2
    assert all(size >= 4 * part for size in states.values())
    parameters = {path: size for path, size in swapping["files of parameters"].items() if "_param" in path}
    assert list(parameters.values()) == [4 * part]
