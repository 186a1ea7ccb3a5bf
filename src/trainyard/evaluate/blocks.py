"""The rows of an evaluation in blocks: what is read, scored and kept at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainyard.evaluate.rows import stream_rows

CHARACTERS = 100_000  # of text in a block, at least: enough batches of it to sort, few enough to lose in a kill


@dataclass(frozen=True)
class Block:
    """Neighbouring rows.

    Attributes:
        index: its place among the blocks.
        first: the place of its first row in the file.
        rows: the rows, with the columns that the metric reads.
    """

    index: int
    first: int
    rows: list[dict[str, Any]]


def blocks(path: Path, columns: Sequence[str], stop: int) -> Iterator[Block]:
    """Cut the first `stop` rows of a Parquet file into blocks, which depend on the rows alone."""
    index = first = size = 0
    held: list[dict[str, Any]] = []
    for place, row in enumerate(stream_rows(path, columns)):
        if place == stop:
            break
        held.append(row)
        size += sum(_characters(value) for value in row.values())
        if size >= CHARACTERS:
            yield Block(index, first, held)
            index, first, size, held = index + 1, place + 1, 0, []
    if held:
        yield Block(index, first, held)


def _characters(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    return sum(map(_characters, value)) if isinstance(value, list) else 0
