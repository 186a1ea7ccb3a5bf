"""The losses of held-out rows: of one validation in a training, and of its best and last ones in a file of results.

Every validation is of the same rows, and so is that of every run on the same data with the same lengths: their losses
compare row by row.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from trainyard.core.files import atomic_file, read_json, write_json

BEST, LAST = "best", "last"
SCHEMA = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("tokens", pa.int64(), nullable=False),
        pa.field(BEST, pa.float64()),
        pa.field(LAST, pa.float64()),
    ]
)


@dataclass(frozen=True)
class RowLosses:
    """What one validation found.

    Attributes:
        losses: of each row the sum of the cross-entropies of its predicted tokens, in nats.
        tokens: how many those are.
    """

    losses: list[float]
    tokens: list[int]

    @property
    def mean(self) -> float:
        """The mean over all predicted tokens, in nats."""
        return math.fsum(self.losses) / sum(self.tokens)


def save_row_losses(folder: Path, step: int, found: RowLosses) -> None:
    """Keep what the validation after `step` found."""
    write_json(_step_file(folder, step), asdict(found))


def load_row_losses(folder: Path, step: int) -> RowLosses | None:
    """What the validation after `step` found; None where other code took the step and kept no losses by row."""
    file = _step_file(folder, step)
    return RowLosses(**read_json(file)) if file.exists() else None


def write_row_losses(output: Path, found: Mapping[str, RowLosses]) -> None:
    """Write the losses by row of the best and the last validation as one Parquet file.

    Its columns are `row`, counted from 0 in the order of the data; `tokens`, how many are predicted; `best` and
    `last`, the sum of their cross-entropies in nats, null where that is not found. Of no validation it has no row.
    """
    tokens = next((each.tokens for each in found.values()), [])
    columns = {name: found[name].losses if name in found else [None] * len(tokens) for name in (BEST, LAST)}
    table = pa.table({"row": range(len(tokens)), "tokens": tokens, **columns}, schema=SCHEMA)
    with atomic_file(output) as draft:
        pq.write_table(table, draft)


def _step_file(folder: Path, step: int) -> Path:
    return folder / f"step-{step:06d}.json"
