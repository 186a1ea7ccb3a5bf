"""What two validation losses must share to be of one law or one ranking, besides how large a model is and how long it trained."""

from collections.abc import Mapping
from typing import Any

_OF_TRAINING = ("initial", "lora", "freeze", "attention", "sequence_length", "validation_tokens")


def what_losses_share(specification: Mapping[str, Any]) -> tuple[str, ...]:
    """Data and units of a run's loss, and how it differs from training the whole model from scratch."""
    model, train = specification["model"], specification["train"]
    shared = [specification["dataset"], model["tokenizer"], model["family"]]
    return tuple(map(str, [*shared, *(train.get(name) or None for name in _OF_TRAINING)]))
