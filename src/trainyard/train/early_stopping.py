"""When a run has stopped improving: a function of its validation losses alone, so that a resumed run ends alike."""

import math
from collections.abc import Iterable


def count_without_improvement(losses: Iterable[float], least: float) -> int:
    """How many of the last validations have improved on none before them.

    A loss is an improvement if it lies more than `least` below the best one so far, the last improvement (as in Keras
    and Lightning: many small steps down, none of them an improvement on the one before, add up to one).

    Args:
        losses: of the validations in their order, in nats.
        least: how much lower a loss must be, in nats.
    """
    best, count = math.inf, 0
    for loss in losses:
        if loss < best - least:
            best, count = loss, 0
        else:
            count += 1
    return count


def describe_stop(step: int, steps: int, patience: int) -> str:
    """Why a run ended after `step` of `steps` steps, and `patience` validations without an improvement."""
    last = "validation improved on none before it"
    if patience > 1:
        last = f"{patience} validations improved on none before them"
    return f"stopped early at step {step:,} of {steps:,}: the last {last}"
