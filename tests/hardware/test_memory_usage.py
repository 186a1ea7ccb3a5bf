import os

from trainyard.hardware.memory_usage import host_memory, peak_host_memory


def test_memory_is_that_of_this_process():
    ballast = bytearray(os.urandom(1)) * 50_000_000
    assert 50_000_000 < host_memory() <= peak_host_memory()
    del ballast
