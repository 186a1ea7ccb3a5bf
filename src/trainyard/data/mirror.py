"""A folder in the hub's layout: `datasets/ORG/NAME/...` and `models/ORG/NAME/...`. It is never the network."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from trainyard.config.catalogue import HubModel, HubSource
from trainyard.data import readers
from trainyard.errors import InputError

_SYNONYMS = {"train": ["train", "training"], "validation": ["validation", "valid", "val", "dev"], "test": ["test"]}
# the hub's converter adds a part of a hash
_NUMBERED = re.compile(r"^(.*)-(\d+)-of-(\d+)(-[0-9a-f]+)?$")


def model_folder(mirror: Path, source: HubModel) -> Path:
    """Where a mirror holds a model repository."""
    return Path(mirror) / "models" / source.hub


def dataset_folder(mirror: Path, source: HubSource) -> Path:
    """Where a mirror holds a dataset repository."""
    return Path(mirror) / "datasets" / source.hub


def _names(path: Path, words: Sequence[str]) -> bool:
    return any(re.search(rf"(^|[-_. ]){word}([-_. \d]|$)", path.stem) for word in words)


def _check_numbered(files: Sequence[Path]) -> None:
    """Raise an InputError if files named `-00000-of-00004` aren't all there."""
    found = [(path, match) for path in files if (match := _NUMBERED.match(path.stem))]
    there = {(match[1], int(match[3]), int(match[2])) for _, match in found}
    for path, match in found:
        name, number, total, _ = match.groups()
        for part in range(int(total)):
            if (name, int(total), part) not in there:
                missing = path.with_name(f"{name}-{part:0{len(number)}d}-of-{total}")
                raise InputError(
                    f"{missing}*: missing, though the name of {path.name} says that there are {int(total)} files"
                )


def split_files(mirror: Path, source: HubSource, split: str) -> list[Path]:
    """The files of one of the source's splits, in order.

    As on the hub, a file belongs to the split that its name holds; where no name holds a
    split, all are `train`.

    Raises:
        InputError: the mirror has no such files, or not all of them.
    """
    folder = dataset_folder(mirror, source) / (source.folder or source.configuration or "")
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder in the mirror; it should hold the files of {source.hub}")
    files = sorted(path for path in folder.iterdir() if path.is_file())
    # Parquet first: a licence beside the data is a .txt, and no data.
    kinds = [kind for kind in readers.SUFFIXES if any(path.suffix == kind for path in files)]
    if not kinds:
        raise InputError(f"{folder}: no file of a known kind ({', '.join(readers.SUFFIXES)})")
    files = [path for path in files if path.suffix == kinds[0]]
    named = [path for path in files if _names(path, _SYNONYMS.get(split, [split]))]
    if not named:
        others = [word for words in _SYNONYMS.values() for word in words]
        if split != "train" or any(_names(path, others) for path in files):
            raise InputError(f"{folder}: no file of the split {split!r}; it has {', '.join(p.name for p in files)}")
        named = files
    _check_numbered(named)
    return named


def rows(files: Sequence[Path], required: Sequence[str], optional: Sequence[str]) -> Iterator[readers.Row]:
    """The rows of several files, one file after another."""
    for path in files:
        yield from readers.read(path, required, optional)


def count(files: Sequence[Path]) -> int:
    """The number of rows of several files."""
    return sum(readers.count(path) for path in files)
