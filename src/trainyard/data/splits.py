"""Which files of a dataset's repository are which split: the datasets library says, of a folder as of the hub."""

import dataclasses
import re
import tempfile
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import yaml

from trainyard.config.catalogue import HubSource
from trainyard.core.errors import InputError, one_line
from trainyard.data.readers import SUFFIXES, check_kind

# the hub's converter adds a part of a hash
_NUMBERED = re.compile(r"(.*)-(\d+)-of-(\d+)(-[0-9a-f]+)?")
_SHOWN = 5
# what a configuration says of itself, and not of how its files are read
_NAMING = {"name", "version", "data_dir", "data_files", "description", "features"}
_BY_NAME = "name the files by split (train.csv, test.csv, data/train-00000-of-00002.parquet), or list them in README.md"

Files = dict[str, list[str]]
"""The files of each split, by their paths in the repository."""


class Place(NamedTuple):
    """A repository, where the library can look for it.

    Attributes:
        title: what messages call it.
        path: what the library is given: a folder, or owner/name on the hub.
        root: what the addresses of its files begin with.
        revision: a commit of the hub.
    """

    title: str
    path: str
    root: str
    revision: str | None = None


def split_files(at: Place, source: HubSource, split: str) -> list[str]:
    """The paths in the repository of the files that are one of its splits, in order.

    No code of the repository runs: of its card (README.md) the library reads the YAML, of its files the names.

    Raises:
        InputError: there is no such split; its files aren't all there, or can't be read here; or the library mixes
            splits, because names say them otherwise than it reads them.
    """
    builder = _builder(at, source)
    files = _in_repository(at, builder.config.data_files or {})
    if split not in files:
        available = ", ".join(f"{name} ({_some(paths)})" for name, paths in files.items())
        raise InputError(f"{at.title}: no split {split!r}; there are {available or 'none'}")
    _check_reading(at, builder)
    _check_numbered(at, files[split])
    check_kind(at.title, files[split])
    base = "/".join(filter(None, [at.root, builder.config.data_dir]))
    # whoever lists files in the card says which split each is, and knows better than their names
    if (twice := _find_mixed_splits(files)) and not _lists_files(at):
        raise InputError(f"{at.title}: {twice}; {_BY_NAME}")
    if aside := _find_ignored(at, base, files):
        raise InputError(
            f"{at.title}: the datasets library takes {_some(files[split])} for the data, and leaves {_some(aside)}; "
            "move aside what is no data"
        )
    return files[split]


def _builder(at: Place, source: HubSource) -> Any:
    """What the library makes of a repository's configuration, without reading any data.

    Raises:
        InputError: a file of it is damaged.
        Exception: whatever else the library raises.
    """
    import datasets  # noqa: PLC0415  (takes a second to import)

    # an empty cache: from its own the library would take whatever revision lies there when the hub fails
    with tempfile.TemporaryDirectory() as empty:
        ask = partial(datasets.load_dataset_builder, at.path, revision=at.revision, cache_dir=empty)
        try:
            if source.configuration is None:
                return ask(data_dir=source.folder)
            try:
                return ask(source.configuration)
            except ValueError as error:
                if type(error) is not ValueError:  # an answer that is no JSON, say
                    raise
                # without a card, a folder is a configuration
                try:
                    return ask(data_dir=source.folder or source.configuration)
                except FileNotFoundError:
                    raise error from None
        except (yaml.YAMLError, zipfile.BadZipFile, AssertionError) as error:
            raise InputError(f"{at.title}: not a dataset to the datasets library ({one_line(error)})") from error


def _in_repository(at: Place, by_split: Mapping[Any, Sequence[str]]) -> Files:
    """Paths in place of addresses; a split that the card has, and no file fits, isn't there."""
    files: Files = {}
    for split, addresses in by_split.items():
        if not addresses:
            continue
        files[str(split)] = names = [address.removeprefix(f"{at.root}/") for address in addresses]
        if foreign := next((each for each in names if each in addresses or ".." in PurePosixPath(each).parts), None):
            raise InputError(f"{at.title}, split {split}: {foreign} is not a file of this repository")
    return files


def _check_reading(at: Place, builder: Any) -> None:
    """Raise an InputError if the card asks for files to be read otherwise than by their suffixes."""
    config, usual = builder.config, type(builder.config)()
    changed = {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(config)
        if field.name not in _NAMING and getattr(config, field.name) != getattr(usual, field.name)
    }
    if changed == {"sep": "\t"} and all(
        path.endswith(".tsv") for paths in config.data_files.values() for path in paths
    ):
        return
    if changed:
        settings_text = ", ".join(f"{name}: {value!r}" for name, value in changed.items())
        raise InputError(
            f"{at.title}, README.md: the configuration {config.name} asks for {one_line(settings_text)}, which isn't "
            f"done here; "
            "bring the files into the usual form, and leave that out"
        )


def _check_numbered(at: Place, files: Sequence[str]) -> None:
    """Raise an InputError if files named `-00000-of-00004` aren't all there."""
    numbered = [(path, match) for path in map(PurePosixPath, files) if (match := _NUMBERED.fullmatch(path.stem))]
    groups = {(path.parent, match[1], int(match[3]), int(match[2])) for path, match in numbered}
    for path, match in numbered:
        name, number, total, _ = match.groups()
        for part in range(int(total)):
            if (path.parent, name, int(total), part) not in groups:
                missing = path.with_name(f"{name}-{part:0{len(number)}d}-of-{total}")
                raise InputError(
                    f"{at.title}: {missing}*: missing, though the name of {path.name} says that there are "
                    f"{int(total)} files"
                )


def _find_mixed_splits(files: Files) -> str | None:
    """How names of files say other splits than the one that the library takes the files for, or None."""
    from datasets.data_files import SPLIT_KEYWORDS  # noqa: PLC0415  (takes a second to import)

    places = Counter(path for paths in files.values() for path in paths)
    if twice := [path for path, count in places.items() if count > 1]:
        return f"the datasets library takes {_some(twice)} more than once, as {', '.join(files)}"
    for split, paths in files.items():
        if split not in SPLIT_KEYWORDS:  # its name is in the files' names as it is
            continue
        whole, part = (
            {path: _splits_in_path(path, within, SPLIT_KEYWORDS) for path in paths} for within in (False, True)
        )
        beside = any(split in splits for splits in part.values())
        mixed = [path for path in paths if split not in part[path] and (whole[path] or (beside and part[path]))]
        if mixed:
            splits = ", ".join(sorted(set().union(*(part[path] for path in mixed))))
            return f"the datasets library takes {_some(mixed)} for the split {split}, though the name says {splits}"
    return None


def _splits_in_path(path: str, within: bool, keywords: Mapping[Any, Sequence[str]]) -> set[str]:
    """The splits that a file's path names, in small letters or capitals; `within` a word too, as in testset.csv."""
    words = [word.casefold() for word in re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "-", path))]

    def named(keyword: str) -> bool:
        return any(
            word == keyword or (within and (word.startswith(keyword) or word.endswith(keyword))) for word in words
        )

    return {str(split) for split, its_own in keywords.items() if any(map(named, its_own))}


def _lists_files(at: Place) -> bool:
    """Whether the card says which files are which split."""
    from datasets.load import dataset_module_factory  # noqa: PLC0415

    module = dataset_module_factory(at.path, revision=at.revision)
    listed = module.builder_configs_parameters.metadata_configs or {}
    return any("data_files" in configuration for configuration in listed.values())


def _find_ignored(at: Place, base: str, files: Files) -> list[str]:
    """What the library leaves aside for plain text, which may be licences and notes.

    Of files whose names fit it takes the kind that is most frequent.
    """
    if any(not path.endswith(".txt") for paths in files.values() for path in paths) or _lists_files(at):
        return []
    from datasets.data_files import DataFilesDict, get_data_patterns  # noqa: PLC0415

    candidates = DataFilesDict.from_patterns(get_data_patterns(base), base_path=base, allowed_extensions=list(SUFFIXES))
    every = _in_repository(at, candidates)
    used = {path for paths in files.values() for path in paths}
    return [path for paths in every.values() for path in paths if path not in used]


def _some(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return ", ".join(paths[:_SHOWN]) + more
