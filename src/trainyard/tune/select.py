"""The small job before each generation: who goes on from whose state, under which settings.

generation{g}.json, a list of slots:

```
{"slot": 3, "parent": 1, "hyperparameters": {...}, "replaced": {"loss": 2.9, "outcome": "finished", "reason": null}}
{"slot": 4, "parent": null, "hyperparameters": {...}, "outcome": "diverged", "reason": "..."}
```
`parent` is a slot of the generation before, whose loss is `parent_loss`; of the first generation there is none.
`replaced` is what the member of this number came to that lost its place to a copy. A slot with an `outcome` trains no
more: its member failed, and the method copies none.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainyard.config.tune import Range
from trainyard.core.files import read_json, write_json
from trainyard.tune.space import chance_of, draw, grid, perturb

EXPLOITED = 0.2
"""The part of a population that is replaced, and that is copied from (Jaderberg et al. 2017: truncation selection)."""

Slot = dict[str, Any]


class Member:
    """What became of one slot of a generation."""

    def __init__(self, slot: Slot, summary: Mapping[str, Any]) -> None:
        self.slot: int = slot["slot"]
        self.hyperparameters: dict[str, Any] = slot["hyperparameters"]
        self.outcome: str = summary["outcome"]
        self.reason: str | None = summary["reason"]
        self.loss: float | None = summary["validation_loss"] if self.outcome == "finished" else None

    @property
    def place(self) -> tuple[float, int]:
        """What members are ranked by, the best first: the loss, and the number where losses are equal."""
        return (math.inf if self.loss is None else self.loss), self.slot

    def describe(self) -> dict[str, Any]:
        """What it came to."""
        return {"loss": self.loss, "outcome": self.outcome, "reason": self.reason}


def select(search: dict[str, Any], previous: Path | None, summaries: Sequence[Path], output: Path) -> None:
    """Settle a generation.

    Args:
        search: what `describe_search` gives.
        previous: the file of the generation before; None for the first.
        summaries: summary.json of its members, by slot.
        output: the file of this generation.
    """
    slots = _begin(search) if previous is None else _go_on(search, read_members(previous, summaries))
    names = ("name", "method", "seed", "generation", "until")
    write_json(output, {**{name: search[name] for name in names}, "slots": slots})


def read_members(generation: Path, summaries: Sequence[Path]) -> list[Member]:
    """The members of a generation with what became of them."""
    slots = read_json(generation)["slots"]
    return [Member(slot, read_json(summary)) for slot, summary in zip(slots, summaries, strict=True)]


def trace(generations: Sequence[Path], member: Member) -> list[dict[str, Any]]:
    """The slots from the first generation to this member: each with the last step and the settings of its part."""
    lineage: list[dict[str, Any]] = []
    slot: int | None = member.slot
    for file in reversed(generations):
        content = read_json(file)
        assert slot is not None
        found = content["slots"][slot - 1]
        lineage.append({"slot": slot, "until": content["until"], "hyperparameters": found["hyperparameters"]})
        slot = found["parent"]
    return lineage[::-1]


def _space(search: Mapping[str, Any]) -> dict[str, Range]:
    return {name: Range.model_validate(values) for name, values in search["over"].items()}


def _begin(search: Mapping[str, Any]) -> list[Slot]:
    """The first generation; methods that draw begin alike, so that they differ in what comes after."""
    space, numbers = _space(search), range(1, search["slots"] + 1)
    if search["method"] == "grid":
        settings = grid(space, search["members"])
    else:
        settings = [draw(space, chance_of(search["seed"], 1, slot)) for slot in numbers]
    return [
        {"slot": slot, "parent": None, "hyperparameters": each} for slot, each in zip(numbers, settings, strict=True)
    ]


def _go_on(search: Mapping[str, Any], members: Sequence[Member]) -> list[Slot]:
    method: Callable[[Mapping[str, Any], Sequence[Member]], list[Slot]]
    method = {"pbt": _copy_the_best, "halving": _keep_the_best}.get(search["method"], _keep_all)
    return method(search, members)


def _keep_all(_: Mapping[str, Any], members: Sequence[Member]) -> list[Slot]:
    return [_continue(member.slot, member) for member in members]


def _keep_the_best(search: Mapping[str, Any], members: Sequence[Member]) -> list[Slot]:
    best = sorted(members, key=lambda member: member.place)[: search["slots"]]
    return [_continue(slot, member) for slot, member in enumerate(best, 1)]


def _copy_the_best(search: Mapping[str, Any], members: Sequence[Member]) -> list[Slot]:
    """PBT: the lowest fifth, one at least, and whoever failed lose their places to copies of the top fifth."""
    ranked = sorted((member for member in members if member.loss is not None), key=lambda member: member.place)
    count = max(1, int(EXPLOITED * len(members)))
    best = ranked[:count]
    kept = ranked[: max(len(best), len(members) - count)]
    slots = []
    for member in members:
        if member in kept or not best:
            slots.append(_continue(member.slot, member))
            continue
        chance = chance_of(search["seed"], search["generation"], member.slot)
        parent = best[int(chance() * len(best))]
        settings = perturb(_space(search), parent.hyperparameters, chance)
        copy = {"slot": member.slot, "parent": parent.slot, "parent_loss": parent.loss, "hyperparameters": settings}
        slots.append({**copy, "replaced": member.describe()})
    return slots


def _continue(slot: int, member: Member) -> Slot:
    if member.loss is None:
        ended = {"outcome": member.outcome, "reason": member.reason}
        return {"slot": slot, "parent": None, "hyperparameters": member.hyperparameters, **ended}
    return {
        "slot": slot,
        "parent": member.slot,
        "parent_loss": member.loss,
        "hyperparameters": member.hyperparameters,
    }
