import errno

import pytest
import torch

from trainyard.launch.failures import crashed_framework, is_out_of_memory, oom_kill_count


def test_an_allocation_that_the_host_refuses_is_out_of_memory():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50)
    assert is_out_of_memory(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("std::bad_alloc"),
        RuntimeError("CUDA error: out of memory"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
)
def test_what_says_that_memory_ran_out_is_out_of_memory(error):
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("shapes differ"),
        ValueError("DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("can't start new thread"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED"),  # which a label out of range brings forth too
        OSError(errno.ENOSPC, "No space left on device"),
    ],
)
def test_any_other_error_is_a_failure(error):
    assert not is_out_of_memory(error)


def test_kills_for_memory_are_counted():
    assert oom_kill_count() >= 0


def raised(*frames: str, error: str = "raise AttributeError('of yesterday')"):
    """What is raised when functions of these modules call each other, the last one raising."""
    call = None
    for name in reversed(frames):
        scope = {"__name__": name, "call": call}
        exec(f"def function():\n    {'call()' if call else error}", scope)
        call = scope["function"]
    assert callable(call)
    with pytest.raises(Exception) as caught:  # noqa: PT011
        call()
    return caught.value


ENGINE = ("__main__", "trainyard.train.loop", "trainyard.parallel.colossalai.gemini")


@pytest.mark.parametrize(
    "inside",
    [
        ("colossalai.booster", "colossalai.zero.gemini"),
        ("colossalai.zero.gemini", "torch._foreach"),  # what it calls is its own affair
        ("torch.autograd", "colossalai.zero.hooks"),
    ],
)
def test_an_error_that_a_framework_raises_under_its_own_engine_is_its_crash(inside):
    assert crashed_framework(raised(*ENGINE, *inside)) == "colossalai"


@pytest.mark.parametrize(
    "frames",
    [
        ENGINE,
        (*ENGINE, "torch.nn.modules.linear"),
        (*ENGINE, "colossalai.booster", "trainyard.models.loss"),  # our code, called back
        (*ENGINE, "colossalai.booster", "trainyard.models.loss", "torch.nn.functional"),
        (
            "__main__",
            "trainyard.parallel.pytorch.fsdp",
            "transformers.integrations",
            "deepspeed.runtime",
        ),  # no engine of its
        ("__main__", "trainyard.parallel.colossalai.low_level_zero", "deepspeed.runtime"),
        ("__main__", "trainyard.models.build", "colossalai.lazy"),
        ("transformers.modeling", "deepspeed.runtime"),
    ],
)
def test_an_error_of_ours_or_of_anything_else_is_no_crash_of_a_framework(frames):
    assert crashed_framework(raised(*frames)) is None
