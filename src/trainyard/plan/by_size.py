"""From settings that follow a model's size to the numbers that they are for one model."""

from collections.abc import Mapping
from typing import Any

from trainyard.config.by_size import BY_SIZE, KAPLAN, OF_KAPLAN, WHOLE, PowerOfSize
from trainyard.config.catalogue import Model
from trainyard.config.train import Train
from trainyard.config.yaml_entries import parse
from trainyard.core.errors import InputError
from trainyard.estimate import kaplan
from trainyard.estimate.parameters import parameters, parameters_without_embeddings

_KAPLAN = {"steps": kaplan.efficient_steps, "tokens": kaplan.efficient_tokens, "learning_rate": kaplan.learning_rate}


def resolve_by_size(settings: Mapping[str, Any], model: Model, location: str) -> dict[str, Any]:
    """Settings of training with a number for each that follows the size.

    Whole numbers are rounded to the nearest, 1 at least; `batch_tokens` to whole sequences.

    Args:
        settings: of a grid, or a part of them.
        model: whose size it is.
        location: their file and key, for errors.

    Raises:
        InputError: the setting can't follow the size, the formula can't be read, or it gives no rate above 0.
    """
    length = settings.get("sequence_length", Train.model_fields["sequence_length"].default)
    units = {"batch_tokens": length} if isinstance(length, int) and length > 0 else {}
    return {
        name: _resolve(name, value, model, units.get(name, 1), f"{location}.{name}") for name, value in settings.items()
    }


def _resolve(name: str, value: Any, model: Model, unit: int, location: str) -> Any:
    if isinstance(value, dict) and name in BY_SIZE:
        power = parse(PowerOfSize, value, location)
        found = power.scale * parameters(model) ** power.exponent
    elif value == KAPLAN:
        if name not in OF_KAPLAN:
            raise InputError(f"{location}: {KAPLAN} has a formula for {', '.join(OF_KAPLAN)} alone; give a number")
        found = _KAPLAN[name](parameters_without_embeddings(model))
        if found <= 0:
            raise InputError(
                f"{location}: Kaplan's formula gives {found:.2g} for a model of this size; give a number, or "
                "{scale: ..., exponent: ...}"
            )
    else:
        return value
    return max(1, round(found / unit)) * unit if name in WHOLE else found
