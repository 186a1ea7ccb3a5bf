"""The files of a hub dataset's splits, as the datasets library finds them."""

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from trainyard.config.catalogue import HubSource
from trainyard.errors import InputError
from trainyard.fetch.attempts import attempted
from trainyard.fetch.hub import Repository, locked_files, prepare_client
from trainyard.fetch.lock import Asked, DataLock

_ADDRESS = re.compile(r"hf://datasets/(?P<name>[^@]+)@(?P<commit>[^/]+)/(?P<path>.+)")


def split_files(asked: Asked, source: HubSource, split: str, lock: DataLock) -> tuple[str, list[Path]]:
    """Download one of the source's splits; give the commit that the revision stands for, and the files in order.

    The datasets library says which files a configuration and a split are, unless the lock knows already.

    Raises:
        InputError: the hub can't be reached; it has no such dataset, revision, configuration or split; or the files
            aren't those that the lock records.
    """
    commit, files = locked_files(lock, asked, lambda at: _names(at, source, split), split)
    return commit, list(files.values())


def _names(at: Repository, source: HubSource, split: str) -> list[str]:
    """The paths of a split's files in the repository."""
    found = attempted(f"{at}, split {split}", lambda: _data_files(at, source))
    if split not in found:
        raise InputError(f"{at}: no split {split!r}; there are {', '.join(found)}")
    names = []
    for address in found[split]:
        parts = _ADDRESS.fullmatch(address)
        if parts is None or (parts["name"], parts["commit"]) != (at.name, at.revision):
            raise InputError(f"{at}, split {split}: {address} is no file of this repository")
        names.append(parts["path"])
    return names


def _data_files(at: Repository, source: HubSource) -> Mapping[str, list[str]]:
    """Every split's files, as `hf://` addresses."""
    prepare_client()
    import datasets  # noqa: PLC0415  (takes a second to import)

    # an empty cache: from its own the library would take whatever revision lies there when the hub fails
    with tempfile.TemporaryDirectory() as empty:
        builder = datasets.load_dataset_builder(at.name, source.configuration, revision=at.revision, cache_dir=empty)
    return {str(split): list(files) for split, files in (builder.config.data_files or {}).items()}
