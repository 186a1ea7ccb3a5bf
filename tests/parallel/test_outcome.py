import pytest
import torch

from trainyard.parallel.outcome import is_out_of_memory, oom_kill_count


def test_an_allocation_that_the_host_refuses_is_out_of_memory():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50)
    assert is_out_of_memory(caught.value)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
def test_a_device_without_memory_is_out_of_memory(error):
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error", [RuntimeError("shapes differ"), ValueError("DefaultCPUAllocator: can't allocate memory")]
)
def test_any_other_error_is_a_failure(error):
    assert not is_out_of_memory(error)


def test_kills_for_memory_are_counted():
    assert oom_kill_count() >= 0
