"""Results that others have published, beside ours."""

import re

from trainyard.config.study import Published
from trainyard.report.format import PERCENT, SHOWN, clip, fixed, score, size
from trainyard.report.html import Cell, Row
from trainyard.report.results import Evaluation

PUBLISHED = "Published by others, as their sources state them"
FIGURES = {
    "training_loss": "training_loss",
    "validation_loss": "validation_loss",
    "tokens_per_second": "tokens_per_second",
    "samples_per_second": "samples_per_second",
    "peak_memory_gb": "peak_memory",
    "energy_kwh": "energy_kwh",
}
"""The columns of what a study calls so, and is no score."""


def published_row(entry: Published, groups: dict[str, Evaluation]) -> Row:
    """A published result: in the column of the same protocol where there is one, else in a column of its own."""
    tip = f"{entry.protocol}; source: {entry.source}"
    cells = {key: Cell(entry.model, entry.model, tip=tip) for key in ("run", "model")}
    if entry.parallel:
        cells["parallel"] = Cell(entry.parallel, entry.parallel)
    cells["source"] = Cell(clip(entry.source, 60), entry.source, tip=tip)
    for figure, value in entry.values.items():
        if figure in FIGURES:
            scale = 1e9 if figure == "peak_memory_gb" else 1
            text = size(value * scale) if scale > 1 else fixed(value, 0 if value > 1000 else 4 if value < 1 else 2)
            cells[FIGURES[figure]] = Cell(text, value * scale, tip=tip)
            continue
        name = figure.removeprefix("hellaswag_")
        raw = value / 100 if name in PERCENT and value > 1 else value
        group = next((key for key, found in groups.items() if name in SHOWN[found.metric] and same(entry, found)), "")
        cells[f"{group}:{name}"] = Cell(score(name, raw), raw, tip=tip)
    return Row(cells, PUBLISHED)


def same(entry: Published, evaluation: Evaluation) -> bool:
    """Whether a published figure was measured as ours: same dataset, protocol and shots, as far as its text says."""
    text = f"{entry.protocol} {entry.source}".lower()
    shots = re.search(r"(\d+)-shot", text)
    if shots and evaluation.shots is not None and int(shots[1]) != evaluation.shots:
        return False
    dataset = str(evaluation.raw["dataset"]).lower()
    named = dataset == "hellaswag" if evaluation.metric == "hellaswag" else dataset in text
    return named and evaluation.protocol_name.lower() in text
