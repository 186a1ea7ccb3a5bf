import errno

import pytest
import torch

from trainyard.launch.failures import (
    crashed_framework,
    is_out_of_memory,
    is_timeout,
    oom_kill_count,
    says_out_of_memory,
)


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
        OSError(errno.ENOSPC, "No space left on device"),
    ],
)
def test_any_other_error_is_a_failure(error):
    assert not is_out_of_memory(error)


@pytest.mark.parametrize(
    "said",
    [
        "CUDA driver error: out of memory",
        "Triton Error [CUDA]: out of memory",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "backend='inductor' raised:\nOutOfMemoryError: CUDA out of memory. Tried to allocate 6.14 GiB. GPU 0 has a ...",
    ],
)
def test_libraries_below_torch_say_in_their_own_words_that_memory_ran_out(said):
    assert is_out_of_memory(RuntimeError(said))


@pytest.mark.parametrize("last", ["Failed to CUDA calloc 6291456 bytes", "Cuda failure 2 'out of memory'"])
def test_nccl_that_finds_no_memory_is_out_of_memory_and_no_lost_connection(last):
    error = torch.distributed.DistBackendError(
        "NCCL error in: /pytorch/torch/csrc/distributed/c10d/NCCLUtils.cpp:94, unhandled cuda error (run with "
        "NCCL_DEBUG=INFO for details), NCCL version 2.27.5\nncclUnhandledCudaError: Call to CUDA function failed.\n"
        f"Last error:\n{last}"
    )
    assert is_out_of_memory(error)


def test_a_collective_of_nccls_that_times_out_is_a_timeout():
    said = "[Rank 0] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=4, OpType=BROADCAST, NumelIn=112, "
    error = torch.distributed.DistBackendError(
        f"NCCL communicator was aborted on rank 0. Original reason for failure was: {said}"
    )
    assert is_timeout(error)
    assert not is_timeout(torch.distributed.DistBackendError("NCCL error: ncclRemoteError"))


GIB = 2**30


@pytest.mark.parametrize(
    ("status", "free", "out_of_memory"),
    [
        ("CUBLAS_STATUS_ALLOC_FAILED", 100 * 2**20, True),
        ("CUBLAS_STATUS_ALLOC_FAILED", 20 * GIB, True),
        ("CUBLAS_STATUS_ALLOC_FAILED", None, False),  # which a label out of range brings forth too
        ("CUBLAS_STATUS_NOT_INITIALIZED", 100 * 2**20, True),
        ("CUBLAS_STATUS_NOT_INITIALIZED", 20 * GIB, False),
        ("CUBLAS_STATUS_NOT_INITIALIZED", None, False),
        ("CUBLAS_STATUS_EXECUTION_FAILED", 100 * 2**20, False),
    ],
)
def test_cublas_without_a_handle_is_out_of_memory_on_a_device_that_answers(status, free, out_of_memory):
    assert says_out_of_memory(f"CUDA error: {status} when calling `cublasCreate(handle)`", free) is out_of_memory


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
