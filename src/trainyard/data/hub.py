"""The files of a hub dataset's splits, as the datasets library finds them."""

from pathlib import Path

from trainyard.config.catalogue import HubSource
from trainyard.data import splits
from trainyard.fetch.attempts import retry
from trainyard.fetch.hub import Repository, download_locked, prepare_client
from trainyard.fetch.lock import DataLock, Request


def split_files(request: Request, source: HubSource, split: str, lock: DataLock) -> tuple[str, list[Path]]:
    """Download one of the source's splits; give the commit that the revision stands for, and the files in order.

    The datasets library says which files a configuration and a split are, unless the lock knows already.

    Raises:
        InputError: the hub can't be reached; it has no such dataset, revision, configuration or split; or the files
            aren't those that the lock records.
    """
    commit, files = download_locked(lock, request, lambda at: _names(at, source, split), split)
    return commit, list(files.values())


def _names(at: Repository, source: HubSource, split: str) -> list[str]:
    """The paths of a split's files in the repository."""
    prepare_client()
    repository = splits.Place(str(at), at.name, f"hf://datasets/{at.name}@{at.revision}", at.revision)
    return retry(f"{at}, split {split}", lambda: splits.split_files(repository, source, split))
