"""The files of `measure`, read for the report: cells, and searches for the largest batch."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainyard.report.results.runs import read_all

MeasuredCell = dict[str, Any]
COORDINATES = (
    "model",
    "parallel",
    "processes",
    "precision",
    "batch",
    "sequence_length",
    "limit",
    "activations",
    "mode",
)
PLACE = tuple(name for name in COORDINATES if name not in ("parallel", "batch"))  # cells of one place compare
WORDS = {"processes": "{} processes", "batch": "batch {}", "sequence_length": "sequence {}"}
NO_LIMIT = "no limit"
QUIET = 0.05  # of all cores: what a system does by itself
USUAL = (NO_LIMIT, "kept", "eager")  # said only where others differ


def read_cells(paths: Iterable[Path]) -> list[MeasuredCell]:
    """The measured cells in these files, in the given order."""
    return [_describe_coordinates(cell) for cell in read_all(paths) if cell["kind"] == "cell"]


def read_searches(paths: Iterable[Path]) -> list[MeasuredCell]:
    """The searches for the largest batch in these files, in the given order."""
    return [_describe_coordinates(cell) for cell in read_all(paths) if cell["kind"] == "search"]


def _describe_coordinates(cell: MeasuredCell) -> MeasuredCell:
    """With three coordinates in words: the limit of memory, what becomes of activations, and how the model runs."""
    limit = cell["memory_limit"]
    words = f"{limit['bytes'] / 1e9:g} GB of {limit['kind']} memory" if limit else NO_LIMIT
    return {
        **cell,
        "limit": words,
        "activations": activations(cell["activation_checkpointing"]),
        "mode": mode(
            cell["compile"],
            cell["tf32"],
            cell["freeze"],
            cell.get("lora"),
            (cell.get("attention") or {}).get("window"),
        ),
    }


def activations(checkpointing: bool) -> str:
    """What becomes of activations, in a word."""
    return "recomputed" if checkpointing else "kept"


def mode(
    compiled: bool,
    tf32: bool,
    frozen: Sequence[str],
    lora: Mapping[str, Any] | None = None,
    window: int | None = None,
) -> str:
    """How a model runs, in a word, and what else of its training makes a difference."""
    words = ["compiled" if compiled else "eager"]
    words += ["TF32"] if tf32 else []
    words += [f"frozen: {', '.join(frozen)}"] if frozen else []
    if lora is not None:
        targets = lora["targets"] or "usual targets"
        words.append(f"LoRA of rank {lora['rank']}: {targets if isinstance(targets, str) else ', '.join(targets)}")
    words += [f"window of {window:,}"] if window else []
    return ", ".join(words)


def varying_coordinates(cells: Sequence[MeasuredCell], names: Sequence[str] = COORDINATES) -> list[str]:
    """Of these coordinates those that are not the same in all cells."""
    return [name for name in names if len({cell[name] for cell in cells}) > 1]


def cell_label(cell: MeasuredCell, names: Sequence[str]) -> str:
    """A cell by those coordinates that tell it apart; by its parallel setting if none does."""
    words = WORDS | ({} if cell["limit"] == NO_LIMIT else {"limit": "limit {}"}) | {"activations": "activations {}"}
    return " \N{MIDDLE DOT} ".join(words.get(name, "{}").format(cell[name]) for name in names or ["parallel"])


def whole_label(cell: MeasuredCell) -> str:
    """A cell by all that it was measured on, for where it stands alone."""
    return cell_label(cell, [name for name in COORDINATES if cell[name] not in USUAL])


def shared_label(cells: Sequence[MeasuredCell]) -> str:
    """What all cells share, besides the parallel setting."""
    distinguishing = {*varying_coordinates(cells), "parallel"}
    names = [name for name in COORDINATES if name not in distinguishing and cells[0][name] not in USUAL]
    return cell_label(cells[0], names) if names else ""


def group_cells(cells: Iterable[MeasuredCell]) -> dict[tuple[Any, ...], list[MeasuredCell]]:
    """Cells by model, processes, precision and sequence length."""
    places: dict[tuple[Any, ...], list[MeasuredCell]] = {}
    for cell in cells:
        places.setdefault(tuple(cell[name] for name in PLACE), []).append(cell)
    return places


def select_comparable(cells: Iterable[MeasuredCell]) -> list[MeasuredCell]:
    """Of each place the cells of one batch: the batch at which most settings finished, the largest of such."""
    selected = []
    for group in group_cells(cells).values():
        finished = [cell["batch"] for cell in group if cell["outcome"] == "finished"]
        batch = max(finished or [cell["batch"] for cell in group], key=lambda batch: (finished.count(batch), batch))
        selected += [cell for cell in group if cell["batch"] == batch]
    return selected


def other_load(cell: MeasuredCell) -> float | None:
    """The share of all cores that other processes used while it was measured; None where that isn't known."""
    load = cell.get("other_load")
    return None if load is None else load["during"]


def describe_load(cell: MeasuredCell) -> str:
    """What else ran while it was measured, in words."""
    share = other_load(cell)
    if share is None:
        return "unknown what else ran"
    return "nothing else running" if share < QUIET else f"other processes used {100 * share:.0f} % of the cores"


def describe_loads(cells: Iterable[MeasuredCell]) -> str:
    """What else ran while they were measured: of that with most."""
    return describe_load(max(cells, key=lambda cell: math.inf if other_load(cell) is None else other_load(cell) or 0.0))


def describe_peak(found: Mapping[str, Any]) -> str:
    """What an MFU is a share of, with its source."""
    return f"peak {found['peak_flops']:.3g} FLOP/s, {found['peak_source']}"


def binary_unit(values: Iterable[float | None]) -> tuple[int, str]:
    """The unit of memory that suits the largest of these numbers of bytes: its bytes and its name."""
    largest = max((value or 0.0 for value in values), default=0.0)
    return (2**30, "GiB") if largest >= 2**30 else (2**20, "MiB")


def memory_title(cells: Iterable[MeasuredCell]) -> str:
    """What their `peak_memory_increase` is: on a device the peak itself, on the host without what libraries take."""
    kinds = sorted({cell["memory_kind"] for cell in cells if cell["memory_kind"]})
    what = f"Peak {' or '.join(kinds)} memory per process" if kinds else "Peak memory per process"
    return f"{what}, libraries apart" if "host" in kinds else what
