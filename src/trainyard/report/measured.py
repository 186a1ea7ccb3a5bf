"""The files of `measure`, read for the report: cells, and searches for the largest batch."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from trainyard.report.results import read_all

Cell = dict[str, Any]
COORDINATES = ("model", "parallel", "processes", "precision", "batch", "sequence_length")
WORDS = {"processes": "{} processes", "batch": "batch {}", "sequence_length": "sequence {}"}
PLACE = ("model", "processes", "precision", "sequence_length")  # cells that differ in nothing of it compare


def read_cells(paths: Iterable[Path]) -> list[Cell]:
    """The measured cells in these files, in the given order."""
    predicted = {"predicted_memory": None, "prediction_error": None}
    return [predicted | found for found in read_all(paths) if found["kind"] == "cell"]


def read_searches(paths: Iterable[Path]) -> list[Cell]:
    """The searches for the largest batch in these files, in the given order."""
    return [found for found in read_all(paths) if found["kind"] == "search"]


def varying(cells: Sequence[Cell], names: Sequence[str] = COORDINATES) -> list[str]:
    """Of these coordinates those that are not the same in all cells."""
    return [name for name in names if len({cell[name] for cell in cells}) > 1]


def cell_label(cell: Cell, names: Sequence[str]) -> str:
    """A cell by those coordinates that tell it apart; by its parallel setting if none does."""
    return " · ".join(WORDS.get(name, "{}").format(cell[name]) for name in names or ["parallel"])


def by_place(cells: Iterable[Cell]) -> dict[tuple[Any, ...], list[Cell]]:
    """Cells by model, processes, precision and sequence length."""
    places: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in cells:
        places.setdefault(tuple(cell[name] for name in PLACE), []).append(cell)
    return places


def comparable(cells: Iterable[Cell]) -> list[Cell]:
    """Of each place the cells of one batch: the batch at which most settings finished, the largest of such."""
    chosen = []
    for place in by_place(cells).values():
        finished = [cell["batch"] for cell in place if cell["outcome"] == "finished"]
        batch = max(finished or [cell["batch"] for cell in place], key=lambda batch: (finished.count(batch), batch))
        chosen += [cell for cell in place if cell["batch"] == batch]
    return chosen


def binary_unit(values: Iterable[float | None]) -> tuple[int, str]:
    """The unit of memory that suits the largest of these numbers of bytes: its bytes and its name."""
    largest = max((value or 0.0 for value in values), default=0.0)
    return (2**30, "GiB") if largest >= 2**30 else (2**20, "MiB")


def memory_kind(cells: Iterable[Cell]) -> str:
    """Whose peak memory stands in these cells: the host's, the device's, or both."""
    return " or ".join(sorted({cell["memory_kind"] for cell in cells if cell["memory_kind"]}))
