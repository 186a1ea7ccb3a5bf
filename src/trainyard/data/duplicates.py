"""Held-out rows that occur in the training rows too, word for word."""

import hashlib
import logging
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trainyard.core.errors import InputError
from trainyard.core.files import read_json, write_json
from trainyard.data.readers import read

COMPARED = {"text": "text", "pairs": "source"}
"""The column by which rows are compared, by the kind of dataset."""
SHOWN = 5


def count_duplicates(
    training: Path, held_out: Path, output: Path, *, trained_on: str, dataset: str, split: str
) -> dict[str, Any]:
    """Count the held-out rows whose text occurs in the training rows, and write `output` (JSON).

    Texts are compared by hash (BLAKE2b, 128 bits), without the white space around them; of pairs the sources are.
    A warning goes to the log and the terminal where there are any. Memory grows with the held-out rows alone.

    Args:
        training: the Parquet file of `download` that is trained on.
        held_out: the Parquet file of `download` that is validated or scored on, of the same kind.
        output: the JSON file.
        trained_on: name of the dataset of `training`, for the record.
        dataset: name of the dataset of `held_out`.
        split: its split.

    Returns:
        what the JSON holds: training, dataset, split, rows (held out), duplicates (of them), first_rows (where the
        first few are, counted from 1) and training_rows.

    Raises:
        InputError: a file is missing or damaged, or the two are of different kinds.
    """
    kind, other = (read_json(path.with_suffix(".json"))["kind"] for path in (held_out, training))
    if kind != other or kind not in COMPARED:
        raise InputError(f"{held_out}: rows of kind {kind} can't be compared with those of kind {other} in {training}")
    first_rows: dict[bytes, int] = {}
    counts: Counter[bytes] = Counter()
    for number, digest in enumerate(_digests(held_out, COMPARED[kind]), 1):
        first_rows.setdefault(digest, number)
        counts[digest] += 1
    training_rows, seen = 0, set()
    for digest in _digests(training, COMPARED[kind]):
        training_rows += 1
        if digest in counts:
            seen.add(digest)
    about = {
        "training": trained_on,
        "dataset": dataset,
        "split": split,
        "rows": counts.total(),
        "duplicates": sum(counts[digest] for digest in seen),
        "first_rows": sorted(first_rows[digest] for digest in seen)[:SHOWN],
        "training_rows": training_rows,
    }
    write_json(output, about)
    if seen:
        warning = (
            f"{held_out}: {about['duplicates']:,} of its {about['rows']:,} rows also occur in {training} (the first: "
            f"row {about['first_rows'][0]}); scores on them may be memorisation"
        )
        logging.warning("%s", warning)
        print(f"warning: {warning}", file=sys.stderr)
    return about


def _digests(path: Path, column: str) -> Iterator[bytes]:
    for row in read(path, [column]):
        yield hashlib.blake2b(row.values[column].strip().encode(), digest_size=16).digest()
