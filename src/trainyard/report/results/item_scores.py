"""What was scored item by item: the Parquet file beside its JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trainyard.core.errors import InputError

HALVES = 19_999  # that are drawn: the smallest p is 1 in 10,000
SEED = 1
COUNT = "items"  # of a half
AT_ONCE = 2**21  # drawn items that are held in memory


@dataclass(frozen=True)
class Items:
    """Every item of one evaluation, or of one file of shortcuts, in the order of their rows.

    Attributes:
        rows: which row of the rows file each is, ascending, shape `(n,)`.
        columns: numbers of each item by their name in the file, shapes `(n,)`.
        levels: the level of difficulty of each item, shape `(n,)`; none where items have no levels.
    """

    rows: np.ndarray
    columns: Mapping[str, np.ndarray]
    levels: np.ndarray | None = None

    def select_level(self, level: str) -> "Items":
        """The items of one level; every item where no level is named."""
        if not level or self.levels is None:
            return self
        mask = self.levels == level
        return Items(self.rows[mask], {name: column[mask] for name, column in self.columns.items()})

    @cached_property
    def half_sums(self) -> dict[str, np.ndarray]:
        """The sum of each column over random halves of the items, and how many items they have: shapes `(HALVES,)`.

        An item is in a half or not with equal chances, by numpy's PCG64 from `SEED`: the halves of two evaluations
        of the same items are the same.
        """
        generator = np.random.Generator(np.random.PCG64(SEED))
        count = len(self.rows)
        columns = {**self.columns, COUNT: np.ones(count)}
        many = max(1, AT_ONCE // count)
        sums = []
        for done in range(0, HALVES, many):
            shape = min(many, HALVES - done), (count + 7) // 8
            bits = np.frombuffer(generator.bytes(shape[0] * shape[1]), dtype=np.uint8).reshape(shape)
            chosen = np.unpackbits(bits, axis=1, count=count).astype(np.float64)
            # one by one: equal columns have equal sums to the last bit
            sums.append([chosen @ np.ascontiguousarray(column, dtype=np.float64) for column in columns.values()])
        return dict(zip(columns, np.concatenate(sums, axis=1), strict=True))


def read_validation(path: Path) -> dict[str, Items | str]:
    """The rows of a run's `best` and `last` validation, each with its `tokens` and the `log_likelihood` of these.

    A text says why there are none.

    Raises:
        InputError: the file is no Parquet file.
    """
    names = ("best", "last")
    if not path.is_file():
        return dict.fromkeys(names, f"there is no {path.name}")
    try:
        table = pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise InputError(f"{path}: {error}; delete it and train again") from error
    if not table.num_rows:
        return dict.fromkeys(names, "it was not validated")
    rows, tokens = (table.column(name).to_numpy() for name in ("row", "tokens"))
    return {
        name: "the code of that step kept no losses by row"
        if table.column(name).null_count
        else Items(rows, {"tokens": tokens, "log_likelihood": -table.column(name).to_numpy()})
        for name in names
    }


def read_items(path: Path, columns: Sequence[str]) -> Items | str:
    """These columns of the items in `path`, or why there are none to pair with another's.

    Raises:
        InputError: the file is no Parquet file, or a row appears in it twice.
    """
    if not path.is_file():
        return f"there is no {path.name}"
    try:
        file = pq.ParquetFile(path)
        lacking = [name for name in ("row", *columns) if name not in file.schema_arrow.names]
        if lacking:
            return f"{path.name} has no column {', '.join(lacking)}: evaluate again"
        levelled = [name for name in ("level",) if name in file.schema_arrow.names]
        table = file.read(columns=["row", *columns, *levelled])
    except pa.ArrowInvalid as error:
        raise InputError(f"{path}: {error}; delete it and evaluate again") from error
    rows = table.column("row").to_numpy()
    if len(np.unique(rows)) < len(rows):
        raise InputError(f"{path}: a row appears in it twice; delete it and evaluate again")
    # a row that could not be scored has no number: it is no item
    scored = np.flatnonzero(~table.column(columns[0]).is_null().to_numpy())
    order = scored[np.argsort(rows[scored])]
    levels = np.array(table.column("level").to_pylist(), dtype=object)[order] if levelled else None
    return Items(
        rows[order], {name: table.column(name).to_numpy()[order] for name in columns}, levels
    )
