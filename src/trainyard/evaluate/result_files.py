"""Result files: one JSON for each evaluation, and its items in a Parquet file beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from trainyard.core.files import atomic_file, read_json, write_json
from trainyard.core.statistics import PARTS, Estimate, to_json
from trainyard.evaluate.rows import rows_sha256

PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "evaluate", "rouge_score", "nltk", "regex")
ORIGINS = ("origin.json", "trainyard.json")  # of a model that was fetched, and of one that a run exported


@dataclass(frozen=True)
class Names:
    """What an evaluation is called, and the names of what it read."""

    study: str
    run: str
    evaluation: str
    checkpoint: str
    dataset: str
    split: str

    @property
    def title(self) -> str:
        """What the evaluation is called among others at the same time."""
        return f"{self.run}: {self.evaluation}@{self.checkpoint}"


@dataclass(frozen=True)
class Result:
    """What an evaluation found.

    Attributes:
        protocol: how, in words.
        settings: everything that it depends on.
        n: items.
        values: the figures; None where there are none, for the given reason, if it is one.
        reason: why there are none.
        lacking: figures that there are not beside those that there are, and why.
        extra: what else is in the file, by its key.
    """

    protocol: str
    settings: Mapping[str, Any]
    n: int = 0
    values: Mapping[str, Estimate] | None = None
    reason: str | None = None
    lacking: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] | None = None


def write_items(items: Sequence[Mapping[str, Any]], schema: pa.Schema, path: Path) -> None:
    """Write items as a Parquet file."""
    with atomic_file(path) as draft:
        pq.write_table(pa.Table.from_pylist([dict(item) for item in items], schema=schema), draft)


def write_result(output: Path, names: Names, metric: str, result: Result, model_folder: Path, rows: Path) -> None:
    """Write `output` (JSON), which leads back to `rows` by their hash and to the model by what its folder says."""
    write_json(
        output,
        {
            "study": names.study,
            "run": names.run,
            "evaluation": names.evaluation,
            "checkpoint": names.checkpoint,
            "metric": metric,
            "dataset": names.dataset,
            "split": names.split,
            "rows_sha256": rows_sha256(rows),
            "model_origin": model_origin(model_folder),
            "n": result.n,
            "values": None if result.values is None else to_json(result.values) | explain_absent(result.lacking),
            "reason": result.reason or next(iter(result.lacking.values()), None),
            **(result.extra or {}),
            "protocol": result.protocol,
            "settings": dict(result.settings),
        },
    )


def explain_absent(lacking: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Figures that there are not, as they are in result files, each with its reason."""
    return {name: {**dict.fromkeys(PARTS), "reason": reason} for name, reason in lacking.items()}


def model_origin(folder: Path) -> dict[str, Any] | None:
    """Where a model is from: its source and hashes if it was fetched, or its run and step; None if it doesn't say."""
    candidates = (folder / name for name in ORIGINS)
    return next((read_json(file) for file in candidates if file.is_file()), None)
