"""How a process leaves its group."""

import subprocess
import sys

from trainyard.core.repository import SOURCE

LEAVE = """
import gc
from pathlib import Path

from trainyard.parallel import process_group


def threads():
    return len([*Path("/proc/self/task").iterdir()])


alone = threads()
process_group.start("cpu")
process_group.sum_over_ranks([1.0])
before = threads()
process_group.stop()
gc.collect()
print(alone, before, threads())
process_group.start("cpu")
print(process_group.sum_over_ranks([2.0]))
"""


def test_a_group_that_is_left_waits_for_none_of_its_threads() -> None:
    """gloo's destructor does, with Python's lock: now and then a rank of DDP never ended."""
    environment = {"PYTHONPATH": str(SOURCE)}
    done = subprocess.run(
        [sys.executable, "-c", LEAVE], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    threads, sums = done.stdout.splitlines()
    alone, before, after = map(int, threads.split())
    assert alone < before <= after
    assert sums == "[2.0]"
