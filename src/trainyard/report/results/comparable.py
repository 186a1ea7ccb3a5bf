"""Which validation losses compare, of whatever size and length of training."""

from collections.abc import Mapping
from typing import Any

_OF_TRAINING = ("initial", "lora", "freeze", "attention", "sequence_length", "validation_tokens")


def make_comparison_key(specification: Mapping[str, Any]) -> tuple[str, ...]:
    """What two runs have alike if their validation losses compare: data, units, and what of the model is trained."""
    model, train = specification["model"], specification["train"]
    shared = [specification["dataset"], model["tokenizer"], model["family"]]
    return tuple(map(str, [*shared, *(train.get(name) or None for name in _OF_TRAINING)]))
