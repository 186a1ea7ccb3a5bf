"""A small simulated world, told as short English stories: data that needs no network.

The facts of the world depend on the seed alone, so that what a model learns from the
stories of one split holds in every other; all else differs from row to row.
"""

import hashlib
from collections.abc import Iterator
from typing import Any, Literal

from trainyard.data.tinyworld import dialogues, endings, stories
from trainyard.data.tinyworld.draw import Draw
from trainyard.data.tinyworld.world import World

Part = Literal["stories", "endings", "dialogues"]
Split = Literal["train", "validation", "test"]

QUARTERS: dict[int, Split] = {0: "train", 1: "train", 2: "validation", 3: "test"}
OPENING = 3


def rows(part: Part, split: Split, count: int, seed: int) -> Iterator[dict[str, Any]]:
    """Rows of a part of the world, the same for the same arguments everywhere.

    Fewer rows are the beginning of more. No row comes twice in a split, and no story or
    chat of one split opens as one of another does: a hash of its first sentences decides
    to which split it may belong.

    Args:
        part: `stories` (rows of kind text), `endings` (choices; levels in turn) or
            `dialogues` (pairs).
        split: train, validation or test.
        count: how many rows.
        seed: of the world's facts and of the rows.
    """
    draw = Draw(f"tinyworld {seed} {part} {split}")
    world = World.of(seed)
    seen: set[bytes] = set()
    while len(seen) < count:
        number = len(seen)
        row, first = _row(part, world, f"{split}-{number}", number, draw)
        digest = hashlib.sha256(repr([value for name, value in row.items() if name != "id"]).encode()).digest()
        if _split(first) == split and digest not in seen:
            seen.add(digest)
            yield row


def _row(part: Part, world: World, name: str, number: int, draw: Draw) -> tuple[dict[str, Any], list[str]]:
    """A row, and its first sentences, by which it belongs to a split."""
    if part == "stories":
        sentences = stories.story(world, draw)
        return {"text": stories.text(sentences, draw)}, sentences[:OPENING]
    if part == "endings":
        item = endings.item(world, endings.LEVELS[number % len(endings.LEVELS)], draw)
        return item.row(name), item.context[:OPENING]
    lines, summary = dialogues.dialogue(draw)
    return {"id": name, "source": "\n".join(lines), "target": summary}, [*lines[3:], summary]


def _split(sentences: list[str]) -> Split:
    return QUARTERS[hashlib.sha256(" ".join(sentences).encode()).digest()[0] % 4]
