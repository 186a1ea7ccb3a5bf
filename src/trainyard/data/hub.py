"""Datasets of the Hugging Face hub, through the datasets library, with bounded retries."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from trainyard.config.catalogue import HubSource
from trainyard.data.readers import BATCH_ROWS, Row, missing_columns
from trainyard.errors import InputError

ATTEMPTS = 5
FIRST_WAIT = 1.0

Result = TypeVar("Result")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _passing(error: BaseException) -> bool:
    """Whether another attempt may succeed: no connection, a time-out, too many requests, the server's fault."""
    import httpx2  # noqa: PLC0415  (only where the hub is asked)
    from huggingface_hub.errors import OfflineModeIsEnabled  # noqa: PLC0415

    if any(isinstance(link, OfflineModeIsEnabled) for link in _chain(error)):
        return False
    for link in _chain(error):
        status = getattr(getattr(link, "response", None), "status_code", None)
        if status is not None:
            return status == 429 or status >= 500
    return any(isinstance(link, (ConnectionError, TimeoutError, httpx2.TransportError)) for link in _chain(error))


def attempted(what: str, act: Callable[[], Result], wait: float = FIRST_WAIT) -> Result:
    """Do something that asks the hub; wait and try again, twice as long each time, while the fault may pass.

    Raises:
        InputError: it failed for good; the message says why and what to do.
    """
    import httpx2  # noqa: PLC0415

    for attempt in range(1, ATTEMPTS + 1):
        try:
            return act()
        except (httpx2.HTTPError, OSError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            if not _passing(error):
                raise InputError(f"{what}: {reason}") from error
            if attempt == ATTEMPTS:
                raise InputError(
                    f"{what}: the hub can't be reached ({ATTEMPTS} attempts; {reason}). Try later, or set `mirror` to "
                    "a folder in the hub's layout"
                ) from error
        time.sleep(wait * 2 ** (attempt - 1))
    raise AssertionError


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
