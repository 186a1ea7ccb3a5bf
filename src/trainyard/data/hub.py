"""Datasets of the Hugging Face hub, through the datasets library, with bounded retries."""

import os
from collections.abc import Iterator, Sequence
from typing import Any

from trainyard.attempts import FIRST_WAIT, attempted
from trainyard.config.catalogue import HubSource
from trainyard.data.readers import BATCH_ROWS, Row, missing_columns


def open_hub(source: HubSource, split: str, wait: float = FIRST_WAIT) -> tuple[Any, str]:
    """Download a split (with slices), and give it with the commit that the revision stands for.

    The datasets library keeps what it fetched in its own cache (`HF_HOME`), maps it into
    memory, and goes on where an interrupted download stopped.

    Raises:
        InputError: the hub can't be reached, or has no such dataset, revision, configuration or split.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import datasets  # noqa: PLC0415  (takes a second to import)
    from huggingface_hub import HfApi  # noqa: PLC0415

    what = f"{source.hub} (revision {source.revision}, split {split})"
    commit = attempted(what, lambda: HfApi().dataset_info(source.hub, revision=source.revision).sha, wait)
    assert commit is not None
    data = attempted(
        what, lambda: datasets.load_dataset(source.hub, source.configuration, split=split, revision=commit), wait
    )
    return data, commit


def hub_rows(source: HubSource, data: Any, required: Sequence[str], optional: Sequence[str]) -> Iterator[Row]:
    """The rows of an opened split, with the columns that are asked for.

    Raises:
        InputError: a required column is missing.
    """
    missing_columns(source.hub, required, data.column_names)
    wanted = data.select_columns([*required, *(name for name in optional if name in data.column_names)])
    number = 0
    for batch in wanted.with_format("arrow").iter(batch_size=BATCH_ROWS):
        for values in batch.to_pylist():
            number += 1
            yield Row(source.hub, number, values)
