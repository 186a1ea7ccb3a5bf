"""The rows that an evaluation reads."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from trainyard.errors import InputError
from trainyard.files import read_json, sha256_file


def read_rows(path: Path, columns: Sequence[str], limit: int | None = None) -> list[dict[str, Any]]:
    """The first `limit` rows (all of them unless told) of a Parquet file, with the given columns.

    Raises:
        InputError: the file is missing, damaged or empty, or lacks a column.
    """
    try:
        with pq.ParquetFile(path) as file:
            missing = [name for name in columns if name not in file.schema_arrow.names]
            if missing:
                raise InputError(f"{path}: no column {missing[0]}; it has {', '.join(file.schema_arrow.names)}")
            rows: list[dict[str, Any]] = []
            for batch in file.iter_batches(columns=list(columns)):
                rows.extend(batch.to_pylist())
                if limit is not None and len(rows) >= limit:
                    break
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path}: not a readable Parquet file ({error}); delete it and run again") from None
    if not rows:
        raise InputError(f"{path}: no rows to evaluate")
    return rows[:limit]


def rows_sha256(rows: Path) -> str:
    """The SHA-256 of a Parquet file, from the record that its download left beside it, if there is one."""
    record = rows.with_suffix(".json")
    return read_json(record)["sha256"] if record.is_file() else sha256_file(rows)
