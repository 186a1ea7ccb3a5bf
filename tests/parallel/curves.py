"""When the curves of several processes, as driver.py writes them, are those of one process."""

from typing import Any

import pytest

TOLERANCE = 1e-6  # nats, of the loss of any step
HALF_TOLERANCE = 1e-2


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
