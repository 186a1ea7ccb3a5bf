"""A folder in the hub's layout: `datasets/ORG/NAME/...` and `models/ORG/NAME/...`. It is never the network."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from trainyard.config.catalogue import HubModel, HubSource
from trainyard.core.errors import InputError, one_line
from trainyard.data import splits


def model_folder(mirror: Path, source: HubModel) -> Path:
    """Where a mirror holds a model repository."""
    return Path(mirror) / "models" / source.hub


def dataset_folder(mirror: Path, source: HubSource) -> Path:
    """Where a mirror holds a dataset repository."""
    return Path(mirror) / "datasets" / source.hub


def split_files(mirror: Path, source: HubSource, split: str) -> list[Path]:
    """The files of one of the source's splits, in order, as the datasets library finds them in the folder.

    Raises:
        InputError: the mirror has no such repository or split, or it can't be told which files that is.
    """
    folder = dataset_folder(mirror, source)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder in the mirror; it should hold the files of {source.hub}")
    root = folder.resolve()
    try:
        _check_local(folder)
        # by a path that ends otherwise than in its name: a script of that name is none of the library's business
        names = splits.split_files(splits.Place(str(folder), f"{root}/.", str(root)), source, split)
    except InputError:
        raise
    except json.JSONDecodeError as error:  # of the card it reads YAML, of the data nothing
        raise InputError(f"{folder / 'dataset_infos.json'}: not valid JSON ({error}); delete it") from error
    except Exception as error:  # whatever the library raises where a folder is no dataset to it
        raise InputError(f"{folder}: {one_line(str(error).replace(str(root), str(folder)))}") from error
    return [folder / name for name in names]


def _check_local(folder: Path) -> None:
    """Raise an InputError if a card sends the library elsewhere: it would ask there."""
    from datasets import config  # noqa: PLC0415  (takes a second to import)
    from huggingface_hub import DatasetCard  # noqa: PLC0415

    forms: dict[str, Callable[[Path], Any]] = {
        config.REPOCARD_FILENAME: lambda card: DatasetCard.load(card).data.to_dict(),
        config.REPOYAML_FILENAME: lambda card: yaml.safe_load(card.read_text(encoding="utf-8")) or {},
    }
    for name, load in forms.items():
        card = folder / name
        if not card.is_file():
            continue
        try:
            configurations = load(card).get("configs")
        except yaml.YAMLError as error:
            raise InputError(f"{card}: not valid YAML ({one_line(error)}); fix it, or move it away") from error
        if elsewhere := next((text for text in _texts(configurations) if "://" in text), None):
            raise InputError(f"{card}: configs: {elsewhere} is not in the mirror; put the file there, and its path")


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)
