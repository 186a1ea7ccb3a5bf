import pytest
import torch

from trainyard.measure.memory_limit import lift_limit, limit_memory

CPU = torch.device("cpu")
FLOATS = 50_000_000  # 200 MB


def test_a_process_takes_what_its_limit_allows_besides_what_it_has():
    limit = {"kind": "host", "bytes": 300_000_000}
    limit_memory(limit, CPU)
    try:
        held = torch.zeros(FLOATS)
        with pytest.raises(RuntimeError, match="can't allocate memory"):
            torch.zeros(FLOATS)
        del held
        held = torch.zeros(FLOATS)
    finally:
        lift_limit(limit, CPU)
    assert len(torch.cat([held, torch.zeros(FLOATS)])) == 2 * FLOATS


def test_without_a_limit_nothing_changes():
    limit_memory(None, CPU)
    lift_limit(None, CPU)
    assert torch.zeros(FLOATS).sum() == 0
