"""Rows as they are stored: the columns of each kind, and their reading back."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from trainyard.config.catalogue import COLUMNS
from trainyard.data.readers import read

_TYPES = {"endings": pa.list_(pa.string()), "label": pa.int64()}
SCHEMAS: dict[str, pa.Schema] = {
    kind: pa.schema([pa.field(name, _TYPES.get(name, pa.string()), nullable=False) for name in names])
    for kind, names in COLUMNS.items()
}


def read_rows(path: Path, kind: str) -> Iterator[dict[str, Any]]:
    """Yield the rows that `trainyard.data.download.download` wrote, in constant memory.

    Raises:
        InputError: the file is missing or damaged.
    """
    for row in read(Path(path), COLUMNS[kind]):
        yield row.values
