"""The generations of a search: how many members each has, and how long they train."""

import itertools
from dataclasses import dataclass
from typing import Any

from trainyard.config.study import Tune
from trainyard.config.tune import Method
from trainyard.tune.space import grid


@dataclass(frozen=True)
class Generation:
    """One generation.

    Attributes:
        number: from 1.
        slots: its members, which have the numbers 1 to this.
        steps: that each of them takes in it.
        until: the last of these steps, counted over all generations.
    """

    number: int
    slots: int
    steps: int
    until: int


def expand_generations(tune: Tune, method: Method) -> list[Generation]:
    """The generations of one method, whose members take `members` x `generations` x `steps` steps together at most.

    A grid has as many members as its points. Successive halving (Jamieson and Talwalkar 2016, arXiv 1502.07943) keeps
    the better half after each generation, and gives each generation the same budget: half as many members train twice
    as long. So no number depends on those of later generations, and to add one changes none that is there.
    """
    slots = len(grid(tune.over, tune.members)) if method == "grid" else tune.members
    sizes = [max(1, slots >> number) if method == "halving" else slots for number in range(tune.generations)]
    steps = [tune.members * tune.steps // size if method == "halving" else tune.steps for size in sizes]
    untils = itertools.accumulate(steps)
    return [Generation(*values) for values in zip(itertools.count(1), sizes, steps, untils, strict=False)]


def describe_search(tune: Tune, method: Method, generation: Generation) -> dict[str, Any]:
    """What the job that settles a generation is told: nothing of later ones, so that more of them rerun none."""
    return {
        "name": tune.name,
        "method": method,
        "seed": tune.seed,
        "generation": generation.number,
        "slots": generation.slots,
        "until": generation.until,
        "members": tune.members,
        "over": {name: values.model_dump(mode="json", exclude_none=True) for name, values in tune.over.items()},
    }
