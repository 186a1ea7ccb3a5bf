import os

import psutil

from trainyard.hardware.memory_usage import free_host_memory, host_memory, peak_host_memory


def test_memory_is_that_of_this_process():
    ballast = bytearray(os.urandom(1)) * 50_000_000
    assert 50_000_000 < host_memory() <= peak_host_memory()
    del ballast


def test_what_is_free_is_less_than_what_the_machine_has():
    free = free_host_memory()
    assert free is not None
    assert 0 < free < psutil.virtual_memory().total
