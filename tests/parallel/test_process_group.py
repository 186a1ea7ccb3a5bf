"""How processes join a group and leave it; what NCCL is told, without a GPU to tell it of."""

import subprocess
import sys

import pytest
import torch

from trainyard.core.repository import SOURCE
from trainyard.parallel import process_group

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


@pytest.mark.parametrize("local_rank", [0, 3])
def test_nccl_is_told_this_process_s_own_gpu(monkeypatch, local_rank):
    monkeypatch.setenv("LOCAL_RANK", str(local_rank))
    monkeypatch.setenv("RANK", str(local_rank + 8))  # on a second machine the two differ
    asked = process_group.group_arguments("cuda")
    assert asked == {"backend": "cpu:gloo,cuda:nccl", "device_id": torch.device("cuda", local_rank)}


def test_gloo_is_told_no_device():
    assert process_group.group_arguments("cpu") == {"backend": "gloo"}


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
