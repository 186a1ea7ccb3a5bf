import os
import subprocess
import sys

import torch

from trainyard.core.repository import SOURCE
from trainyard.measure.memory_limit import lift_limit, limit_memory

CPU = torch.device("cpu")
# in a process of its own: another one may hold memory that it has freed, and takes that first
LIMITED = """
import torch
from trainyard.measure.memory_limit import lift_limit, limit_memory

cpu, floats, limit = torch.device("cpu"), 50_000_000, {"kind": "host", "bytes": 300_000_000}  # 200 MB of floats
limit_memory(limit, cpu)
held = torch.zeros(floats)
try:
    torch.zeros(floats)
except RuntimeError as error:
    print("refused" if "can't allocate memory" in str(error) else error)
del held
held = torch.zeros(floats)
lift_limit(limit, cpu)
print(len(torch.cat([held, torch.zeros(floats)])))
"""


def test_a_process_takes_what_its_limit_allows_besides_what_it_has():
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    words = [sys.executable, "-c", LIMITED]
    assert subprocess.check_output(words, env=environment, text=True) == "refused\n100000000\n"


def test_without_a_limit_nothing_changes():
    limit_memory(None, CPU)
    lift_limit(None, CPU)
    assert torch.zeros(50).sum() == 0
