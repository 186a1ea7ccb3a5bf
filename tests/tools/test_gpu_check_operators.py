import time

import pytest
import torch

from trainyard.tools.gpu_check.operators import find_slowest


def test_the_slowest_operators_of_a_step_are_told_with_their_calls_and_shares():
    matrix = torch.rand(512, 512)

    def step():
        (matrix @ matrix @ matrix).relu()

    start = time.perf_counter()
    found = find_slowest(step, steps=3, number=2)
    seconds = (time.perf_counter() - start) / 3
    first, second = found["operators"]
    assert (first["name"], first["kind"], first["calls"]) == ("aten::mm", "operator", 2)
    assert first["milliseconds"] > second["milliseconds"] > 0
    assert found["busy_milliseconds"] < 1000 * seconds
    assert first["share"] == pytest.approx(first["milliseconds"] / found["busy_milliseconds"])
    assert first["share"] > 0.5
