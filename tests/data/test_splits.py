"""Which file is which split: the product and the datasets library, side by side on the same folders."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from datasets import load_dataset

from layouts import LAYOUTS, REFUSED, lay
from trainyard.config.catalogue import Dataset, HubSource
from trainyard.core.errors import InputError
from trainyard.data import mirror
from trainyard.data.download import download
from trainyard.data.stored_rows import read_rows


def entry(split: str, **source: str) -> Dataset:
    given = {"hub": "org/set", "revision": "abc", **source}
    return Dataset.model_validate(
        {"title": "T", "kind": "text", "source": given, "splits": {"train": split}, "licence": "CC0"}
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "mirror/datasets/org/set"


Rows = Callable[..., list[str]]


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    def get(split: str = "train", **source: str) -> list[str]:
        output = tmp_path / "rows/train.parquet"
        download("some", entry(split, **source), "train", output, tmp_path / "mirror")
        return [row["text"] for row in read_rows(output, "text")]

    return get


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_mirror_s_splits_are_those_of_the_datasets_library(
    tmp_path: Path, folder: Path, rows: Rows, name: str
) -> None:
    files, source, expected = LAYOUTS[name]
    lay(folder, files)
    told = HubSource(hub="org/set", revision="abc", **source)
    # a folder, to the library, is the same as a configuration without a card
    place: Any = {"data_dir": told.folder or told.configuration}
    if told.configuration and any(file.startswith("README.md=") for file in files):
        place = {"name": told.configuration}
    peer: Any = load_dataset(str(folder), cache_dir=str(tmp_path / "cache"), **place)
    assert list(peer) == list(expected)
    for split, paths in expected.items():
        assert [
            path.relative_to(folder).as_posix() for path in mirror.split_files(tmp_path / "mirror", told, split)
        ] == paths
        found = rows(split, **source)
        assert found == peer[split]["text"]
        assert found == [f"{path} {number}" for path in paths for number in (1, 2)]


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_library_mixes_or_cannot_be_read_is_refused_by_the_file(folder: Path, rows: Rows, name: str) -> None:
    files, source, message = REFUSED[name]
    lay(folder, files)
    with pytest.raises(InputError, match=message) as error:
        rows(**source)
    assert str(error.value).startswith(str(folder))


def test_a_split_of_another_name_is_refused_with_those_that_are_there(folder: Path, rows: Rows) -> None:
    lay(folder, ["train.csv", "Test.csv"])
    with pytest.raises(InputError, match=r"org/set: no split 'test'; there are train \(train\.csv\)"):
        rows("test")
    assert rows() == ["train.csv 1", "train.csv 2"]


def test_links_are_files_as_any(folder: Path, rows: Rows) -> None:
    """The hub's client keeps the bytes elsewhere, and links to them."""
    lay(folder.parent / "blobs", ["0123abcd"])
    folder.mkdir(parents=True)
    (folder / "train.txt").symlink_to("../blobs/0123abcd")
    assert rows() == ["0123abcd 1", "0123abcd 2"]
