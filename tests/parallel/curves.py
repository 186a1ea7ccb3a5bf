"""When the curves of several processes, as driver.py writes them, are those of one process."""

from collections.abc import Callable
from typing import Any

import pytest

RANK_ORDER = [0, 1, 2, 3]
TOLERANCE = 1e-6  # nats, of the loss of any step
HALF_TOLERANCE = 1e-2


def train_references(drive: Callable[..., Any], curves: dict[str, dict[str, Any]]) -> dict[bool, Any]:
    """The curves of one process that accumulates the four micro-batches of a step.

    Args:
        drive: the fixture.
        curves: as driver.py takes them.

    Returns:
        By whether it sums over ranks before it sums over the step.
    """

    def reference(order: list[int]) -> Any:
        settings = {"engine": "single", "options": {"ranks": 2}, "precision": "fp32", "accumulation": 4}
        return drive(1, what="curves", curves=curves, order=order, **settings)

    return {False: reference(RANK_ORDER), True: reference([0, 2, 1, 3])}


def assert_agree(name: str, found: dict[str, Any], expected: dict[str, Any], half: bool = False) -> None:
    """Assert that a curve agrees with one in fp32: each step's loss and gradient norm, and held-out tokens' loss.

    Args:
        name: the curve's, for the message.
        found: the curve of several processes.
        expected: the curve of one process.
        half: `found` was computed in half precision.
    """
    losses, norms = zip(*found["rows"], strict=True)
    expected_losses, expected_norms = zip(*expected["rows"], strict=True)
    largest = max(abs(ours - theirs) for ours, theirs in zip(losses, expected_losses, strict=True))
    assert largest < (HALF_TOLERANCE if half else TOLERANCE), f"{name}: the losses differ by up to {largest:.1e}"
    assert norms == pytest.approx(expected_norms, rel=1e-2 if half else 1e-5), f"{name}: the gradient norms differ"
    held_out = pytest.approx(expected["held_out"], rel=1e-3 if half else 1e-6)
    assert found["held_out"] == held_out, f"{name}: held-out tokens' loss is {found['held_out']}, not {held_out}"
