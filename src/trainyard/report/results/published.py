"""Results that others have published, beside ours."""

import math
import re
from collections.abc import Sequence
from typing import Any

from trainyard.config.study import Published, Study
from trainyard.metrics import PUBLISHED_SCORES, SCORES
from trainyard.report.render.format import PERCENT, TABLE_SCORES, decimal, score, size, truncate
from trainyard.report.render.html import Cell, Row
from trainyard.report.results.measurements import NO_LIMIT, activations, mode
from trainyard.report.results.runs import Evaluation, Run

PUBLISHED = "Published by others, as their sources state them"
FIGURES = {
    "training_loss": "training_loss",
    "validation_loss": "validation_loss",
    "tokens_per_second": "tokens_per_second",
    "samples_per_second": "samples_per_second",
    "generation_samples_per_second": "generation_samples_per_second",
    "peak_memory_gib": "peak_memory",
    "kwh": "kwh",
}
"""The columns of what a study calls so, and is no score."""


def published_loss(entry: Published) -> float | None:
    """The validation loss of a published result, nats per token; where it has none, that of a score per token."""
    if (loss := entry.values.get("validation_loss")) is not None:
        return loss
    for figure, value in entry.values.items():
        kind = SCORES.get(PUBLISHED_SCORES.get(figure, ""))
        if kind is not None and kind.unit == "tokens" and value > 0:
            return {"nats": value, "exponential": math.log(value), "bits": value * math.log(2)}[kind.form]
    return None


def published_row(entry: Published, groups: dict[str, Evaluation]) -> Row:
    """A published result: in the column of the same protocol where there is one, else in a column of its own."""
    tip = f"{entry.protocol}; source: {entry.source}"
    cells = {key: Cell(entry.model, entry.model, tip=tip) for key in ("run", "model")}
    if entry.parallel:
        cells["parallel"] = Cell(entry.parallel, entry.parallel)
    cells["source"] = Cell(truncate(entry.source, 60), entry.source, tip=tip)
    for figure, value in entry.values.items():
        if figure in FIGURES:
            cells[FIGURES[figure]] = _figure(figure, value, tip)
            continue
        name = PUBLISHED_SCORES[figure]
        raw = value / 100 if name in PERCENT and value > 1 else value
        group = next(
            (key for key, found in groups.items() if name in TABLE_SCORES[found.metric] and matches(entry, found)), ""
        )
        cells[f"{group}:{name}"] = Cell(score(name, raw), raw, tip=tip)
    return Row(cells, PUBLISHED)


def cell_coordinates(entry: Published) -> dict[str, Any]:
    """The place of a published measurement among the measured cells."""
    assert entry.cell is not None
    coordinates_dict = entry.cell.model_dump()
    activation_words = activations(coordinates_dict.pop("activation_checkpointing"))
    return {
        "model": entry.model,
        "parallel": entry.parallel,
        **coordinates_dict,
        "limit": NO_LIMIT,
        "activations": activation_words,
        "mode": mode(compiled=False, tf32=False, frozen=[]),
    }


def published_cell_row(entry: Published, section: str = "") -> Row:
    """A published measurement, in the columns of a measured cell; it competes with none of ours."""
    tip = f"{entry.protocol}; source: {entry.source}"
    cells = {name: Cell(str(value), value, tip=tip) for name, value in cell_coordinates(entry).items()}
    cells["outcome"] = Cell("published", "published", tip=tip, kind="plain")
    cells["source"] = Cell(f"{entry.source}: {entry.protocol}", f"{entry.source}: {entry.protocol}", kind="prose")
    for figure, value in entry.values.items():
        key = "device_memory" if figure == "peak_memory_gib" else FIGURES[figure]
        cells[key] = _figure(figure, value, tip)
    return Row(cells, section)


def _figure(figure: str, value: float, tip: str) -> Cell:
    """A speed, a size of memory or a loss; a word of its own among rivals, so that it is never the best."""
    if figure == "peak_memory_gib":
        return Cell(size(value * 2**30), value * 2**30, tip=tip, rivals=PUBLISHED)
    text = decimal(value, 0 if value > 1000 else 4 if value < 1 else 2)
    return Cell(text, value, tip=tip, rivals=PUBLISHED)


def matches(entry: Published, evaluation: Evaluation) -> bool:
    """Whether a published figure was measured as ours: same dataset, protocol and shots, as far as its text says."""
    text = f"{entry.protocol} {entry.source}".lower()
    shots = re.search(r"(\d+)-shot", text)
    if shots and evaluation.shots is not None and int(shots[1]) != evaluation.shots:
        return False
    dataset = str(evaluation.raw["dataset"]).lower()
    named = dataset == evaluation.metric or dataset in text
    return named and evaluation.protocol_name.lower() in text


def published_losses(
    study: Study, figure: str, dataset: str, runs: Sequence[Run], alone: bool
) -> list[tuple[float, str]]:
    """Published losses that belong beside these runs: on the dataset that their text names, else of a model here."""
    models = {run.coordinates["model"] for run in runs}
    return [
        (float(entry.values[figure]), entry.model)  # pyright: ignore[reportArgumentType]
        for entry in study.published
        if figure in entry.values
        and (alone or entry.model in models or dataset.lower() in f"{entry.protocol} {entry.source}".lower())
    ]
