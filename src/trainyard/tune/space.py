"""Values of the searched settings: drawn, changed, and laid out as a grid."""

import itertools
import math
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from trainyard.config.train import Train
from trainyard.config.tune import Range

Settings = dict[str, Any]
Chance = Callable[[], float]
"""Gives a number drawn evenly from [0, 1)."""

FACTORS = (0.8, 1.2)
RESAMPLED = 0.25
"""How often a setting is drawn anew in place of being multiplied: Jaderberg et al. say no number, Ray takes this."""


def chance_of(*key: object) -> Chance:
    """The draws that belong to a key, the same on every machine: Python promises it of `random()` and a text."""
    return Random("/".join(map(str, key))).random


def settle(train: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a training with those of a search in their place, as a specification has them.

    A choice is as the study wrote it: `lora: {rank: 4}` without the rest of what adapters have, or null.
    """
    return Train.model_validate({**train, **settings}).model_dump(mode="json")


def draw(space: Mapping[str, Range], chance: Chance) -> Settings:
    """Every setting, drawn from its range."""
    return {name: _at(values, chance()) for name, values in space.items()}


def perturb(space: Mapping[str, Range], settings: Settings, chance: Chance) -> Settings:
    """PBT's explore (Jaderberg et al. 2017, arXiv 1711.09846, section 4.1.1): each setting drawn anew or multiplied.

    The product stays within the bounds. A choice is replaced by one beside it in its list.
    """
    changed = {}
    for name, values in space.items():
        # always as many draws, so that a setting's values depend on no other setting's
        anew, value, up = chance() < RESAMPLED, _at(values, chance()), chance() >= 0.5
        changed[name] = value if anew else _step(values, settings[name], up)
    return changed


def grid(space: Mapping[str, Range], most: int) -> list[Settings]:
    """At most so many points: as many values of each setting as there is room for, alike in number.

    The setting with the fewest values gets one more as long as the product allows; of equally many the first. One
    value of a range or a list is its middle, several are evenly laid from end to end.
    """
    counts = dict.fromkeys(space, 1)

    def can_grow(name: str) -> bool:
        choice = space[name].choice
        more = math.prod({**counts, name: counts[name] + 1}.values()) <= most
        return more and (choice is None or counts[name] < len(choice))

    while growing := [name for name in space if can_grow(name)]:
        counts[min(growing, key=lambda name: counts[name])] += 1
    values = [_spread(space[name], count) for name, count in counts.items()]
    return [dict(zip(space, point, strict=True)) for point in itertools.product(*values)]


def _spread(values: Range, count: int) -> list[Any]:
    return [_at(values, 0.5 if count == 1 else number / (count - 1)) for number in range(count)]


def _at(values: Range, part: float) -> Any:
    """The value that lies at this part of a range, from 0 for the least to 1 for the largest."""
    if values.choice is not None:
        return values.choice[min(int(part * len(values.choice)), len(values.choice) - 1)]
    if values.log is not None:
        low, high = map(math.log, values.log)
        return _round(math.exp(low + part * (high - low)), values.log)
    assert values.linear is not None
    return _round(values.linear[0] + part * (values.linear[1] - values.linear[0]), values.linear)


def _step(values: Range, value: Any, up: bool) -> Any:
    if values.choice is not None:
        place = values.choice.index(value) + (1 if up else -1)
        return values.choice[min(max(place, 0), len(values.choice) - 1)]
    bounds = values.log or values.linear
    assert bounds is not None
    return _round(value * FACTORS[up], bounds)


def _round(value: float, bounds: tuple[float, float]) -> float:
    """Six digits, which a reader can copy, within the bounds."""
    return min(max(float(f"{value:.6g}"), bounds[0]), bounds[1])
