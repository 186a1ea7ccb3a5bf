"""A member's job: its generation's file says from whose state it goes on, and under which settings."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainyard.core.files import read_json
from trainyard.tune.space import settle


def resolve(
    specification: dict[str, Any], generation: Path, states: Sequence[str]
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The whole specification of a member, and how it has ended already, if it has.

    Args:
        specification: of the plan, with the slot and without what the generation settles.
        generation: the file of its generation.
        states: the folders that the generation before left, by slot.

    Returns:
        Specification, and `outcome` and `reason` of a slot that trains no more.
    """
    slot = read_json(generation)["slots"][specification["search"]["slot"] - 1]
    train = settle(specification["train"], slot["hyperparameters"])
    start = {"start": states[slot["parent"] - 1]} if slot["parent"] else {}
    ended = {name: slot[name] for name in ("outcome", "reason")} if "outcome" in slot else None
    return specification | {"train": train, "data": specification["data"] | start}, ended
