"""Runs that differ in one setting of training alone, and in their seeds."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

SWEPT = ("learning_rate", "batch", "batch_tokens")
"""Settings whose best value is looked for on a logarithmic axis."""
FEWEST_VALUES = 3
_NAMES = ("run", "recipe", "seed")
_NO_MATTER = ("micro_batch", "keep_steps", "checkpoint_every", "validate_every")


@dataclass(frozen=True)
class Sweep:
    """Three values or more of one setting.

    Attributes:
        setting: which.
        places: of the runs, among those that were given.
        values: of the setting, in their order.
    """

    setting: str
    places: list[int]
    values: list[float]


def find_sweeps(specifications: Sequence[dict[str, Any]]) -> list[Sweep]:
    """The sweeps among runs, given by their specifications."""
    groups: dict[tuple[str, str], list[int]] = {}
    for place, specification in enumerate(specifications):
        for setting in SWEPT:
            if specification["train"].get(setting) is not None:
                groups.setdefault((setting, _without(specification, setting)), []).append(place)
    sweeps = (
        Sweep(setting, places, [specifications[place]["train"][setting] for place in places])
        for (setting, _), places in groups.items()
    )
    return [sweep for sweep in sweeps if len(set(sweep.values)) >= FEWEST_VALUES]


def _without(specification: dict[str, Any], setting: str) -> str:
    """The rest of it, but for what changes no loss."""
    rest = {name: value for name, value in specification.items() if name not in _NAMES}
    train = {name: value for name, value in rest["train"].items() if name not in (setting, *_NO_MATTER)}
    return json.dumps({**rest, "train": train}, sort_keys=True)
