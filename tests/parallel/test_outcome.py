import errno

import pytest
import torch

from trainyard.parallel.outcome import is_out_of_memory, oom_kill_count


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
