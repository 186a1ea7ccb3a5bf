"""Writes results of two more metrics, and what the report makes of them: `second_metric.py FOLDER`.

It runs on a copy of the source in which trainyard.metrics has the metrics `edits`, of which lower is better, and
`picks`, of which guessing gets half right.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trainyard.config.catalogue import Model
from trainyard.config.study import Study
from trainyard.report.pages import comparison, differences, quality, scores
from trainyard.tools.terminal_table import table

from .reading import csv_rows, sentences
from .sample_results import MODELS, Results
from .sample_study import STUDY

ROWS = 400


def add_edits(results: Results, run: str, checkpoint: str, mean: float) -> None:
    """Edits of each row, a few of which differ between the models."""
    edits = np.random.default_rng(0).poisson(4, ROWS) + np.random.default_rng(sum(map(ord, run))).random(ROWS) + mean
    value, error = float(edits.mean()), float(edits.std(ddof=1) / ROWS**0.5)
    settings = {"limit": None}
    more = {"checkpoint": checkpoint, "dataset": "dialogues", "n": ROWS, "settings": settings, "rows_sha256": "ab" * 32}
    path = results.add_evaluation(run, "edits", {"edits": (value, error)}, **more)
    pq.write_table(pa.table({"row": np.arange(ROWS), "edits": edits}), path.with_suffix(".parquet"))


def add_picks(results: Results, run: str, right: int) -> None:
    """So many items right, of two choices each."""
    picked = np.arange(ROWS) < right
    value, error = float(picked.mean()), float(picked.std(ddof=1) / ROWS**0.5)
    more = {"dataset": "choices", "n": ROWS, "settings": {"limit": None}, "rows_sha256": "cd" * 32}
    path = results.add_evaluation(run, "picks", {"picks": (value, error)}, **more)
    pq.write_table(pa.table({"row": np.arange(ROWS), "picked": picked}), path.with_suffix(".parquet"))


def main(folder: Path) -> None:
    models = {name: Model.model_validate(entry) for name, entry in MODELS.items()}
    results = Results(folder, "edits", Study.model_validate(STUDY), models)
    for run, model, last in (("large", "gpt2-1m", 0.0), ("small", "gpt2-250k", 2.0), ("middle", "gpt2-500k", 1.0)):
        results.add_run(run, model=model)
        for checkpoint, more in (("step-100", 3.0), ("best", 0.0)):
            add_edits(results, run, checkpoint, last + more)
    for run, right in (("large", 300), ("small", 208), ("middle", 150)):
        add_picks(results, run, right)
    best = [path for path in results.evaluations if path.stem.endswith("@best")]
    page, numbers, picture = folder / "page.html", folder / "numbers.csv", folder / "picture.svg"
    study, runs, every = results.study, results.runs, results.evaluations
    comparison.tabulate(study, runs=runs, evaluations=best, parity=[], table=page, numbers=numbers)
    found = {"comparison": csv_rows(numbers), "comparison page": page.read_text(), "terminal": table(numbers)}
    differences.tabulate(study, runs=runs, evaluations=best, table=page, numbers=numbers)
    found |= {"differences": csv_rows(numbers)}
    quality.tabulate(study, runs=runs, evaluations=every, prices=None, table=page, numbers=numbers)
    found |= {"quality": csv_rows(numbers)}
    quality.draw(study, runs=runs, evaluations=every, shortcuts=[], prices=None, along="step", output=picture)
    scores.draw(study, runs=runs, evaluations=best, output=picture)
    results.evaluations[:] = best
    found |= {"sentences": sentences(results)}
    (folder / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
