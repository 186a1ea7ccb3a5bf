import csv
import json
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset
from pydantic import ValidationError

from trainyard.config.catalogue import Dataset
from trainyard.core.errors import InputError
from trainyard.core.files import sha256_file
from trainyard.data.download import download
from trainyard.data.stored_rows import read_rows

WIKITEXT = [
    "",
    " = Robert Boulter = \n",
    "",
    " Robert Boulter is an English film actor . \n",
    " = = Career = = \n",
    "",
    " = 1 henry and capacitance C = \n",  # a torn paragraph: rows before and after it aren't both empty
    " farad . \n",
    "",
    " = Du Fu = \n",
    "",
    " Du Fu was a poet . \n",
]


def dataset(kind: str = "text", **changed: Any) -> Dataset:
    given: dict[str, Any] = {
        "title": "Some data",
        "kind": kind,
        "source": {"hub": "org/set", "revision": "abc"},
        "splits": {"train": "train"},
        "licence": "CC0",
    }
    return Dataset.model_validate(given | changed)


def files(path: Path) -> dict[str, Any]:
    return {"source": {"files": {"train": str(path)}}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the mirror holds the dataset."""
    folder = tmp_path / "mirror/datasets/org/set"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def rows(tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    def get(entry: Dataset, split: str = "train") -> list[dict[str, Any]]:
        output = tmp_path / f"rows/{split}.parquet"
        about = download("some", entry, split, output, tmp_path / "mirror")
        assert about == json.loads(output.with_suffix(".json").read_text())
        assert about["sha256"] == sha256_file(output)
        found = list(read_rows(output, entry.kind))
        assert about["rows"] == len(found)
        return found

    return get


Rows = Callable[..., list[dict[str, Any]]]


def write_csv(path: Path, lines: list[list[str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(lines)
    return path


def texts(path: Path, values: list[Any]) -> Path:
    pq.write_table(pa.table({"text": pa.array(values)}), path)
    return path


def test_a_mirror_in_the_hub_s_layout_is_read_without_a_connection(
    tmp_path: Path, folder: Path, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    (folder / "small").mkdir()
    texts(folder / "small/train-00000-of-00002.parquet", ["one", "two"])
    texts(folder / "small/train-00001-of-00002.parquet", ["three"])
    texts(folder / "small/validation-00000-of-00001.parquet", ["four"])
    entry = dataset(
        source={"hub": "org/set", "revision": "abc", "configuration": "small"},
        splits={"train": "train", "validation": "validation"},
    )
    assert rows(entry) == [{"text": "one"}, {"text": "two"}, {"text": "three"}]
    assert rows(entry, "validation") == [{"text": "four"}]
    about = json.loads((tmp_path / "rows/train.json").read_text())
    assert (about["origin"], about["revision"], about["source"]) == ("mirror", "abc", "org/set small")


def test_slices_cut_as_the_datasets_library_does(tmp_path: Path, folder: Path, rows: Rows) -> None:
    texts(folder / "anything.parquet", [str(number) for number in range(23)])
    splits = {"train": "train[:90%]", "validation": "train[90%:95%]", "test": "train[-2:]"}
    entry = dataset(splits=splits)
    parts = [[int(row["text"]) for row in rows(entry, split)] for split in splits]
    load = partial(load_dataset, "parquet", data_dir=str(folder), cache_dir=str(tmp_path / "cache"))
    peer: list[Any] = [load(split=cut) for cut in splits.values()]
    assert parts == [[int(text) for text in part["text"]] for part in peer]


def test_a_csv_s_quotes_newlines_and_empty_source_survive(folder: Path, rows: Rows) -> None:
    lines = [
        ["id", "dialogue", "summary"],
        ["7", 'Ann: "hi", she said\r\nBob: hey\n', "They greet."],
        ["8", "", "Nothing."],
    ]
    write_csv(folder / "train.csv", lines)
    (folder / "LICENCE.txt").write_text("no data\n")
    entry = dataset("pairs", columns={"source": "dialogue", "target": "summary"})
    assert rows(entry) == [
        {"id": "7", "source": 'Ann: "hi", she said\r\nBob: hey\n', "target": "They greet."},
        {"id": "8", "source": "", "target": "Nothing."},
    ]


def test_hellaswag_s_columns_become_ours(folder: Path, rows: Rows) -> None:
    item = {
        "ind": 24,
        "activity_label": "Roof shingle removal",
        "ctx_a": "A man is sitting on a roof.",
        "ctx_b": "he",
        "ctx": "A man is sitting on a roof. he",
        "endings": ["a", "b", "c", "d"],
        "label": "3",
    }
    (folder / "data").mkdir()
    pq.write_table(pa.Table.from_pylist([item]), folder / "data/validation-00000-of-00001.parquet")
    source = {"hub": "org/set", "revision": "abc", "folder": "data"}
    entry = dataset("choices", source=source, splits={"validation": "validation"}, columns={"id": "ind"})
    (row,) = rows(entry, "validation")
    del item["ind"]
    assert row == item | {"id": "24", "label": 3, "level": ""}


def test_wikitext_s_lines_become_articles_byte_by_byte(folder: Path, rows: Rows) -> None:
    texts(folder / "train.parquet", WIKITEXT)
    found = [row["text"] for row in rows(dataset(documents="wikitext"))]
    assert found == ["".join(WIKITEXT[:9]), "".join(WIKITEXT[9:])]


@pytest.mark.parametrize("suffix", ["txt", "jsonl", "csv", "parquet"])
def test_plain_files_of_every_kind_give_the_same_rows(tmp_path: Path, rows: Rows, suffix: str) -> None:
    path = tmp_path / f"data.{suffix}"
    match suffix:
        case "txt":
            path.write_bytes("caf\u00e9\r\ntwo words\n".encode())
        case "jsonl":
            path.write_text('{"text": "caf\u00e9", "x": 1}\n{"text": "two words"}\n', encoding="utf-8")
        case "csv":
            write_csv(path, [["x", "text"], ["1", "caf\u00e9"], ["2", "two words"]])
        case _:
            texts(path, ["caf\u00e9", "two words"])
    assert rows(dataset(**files(path))) == [{"text": "caf\u00e9"}, {"text": "two words"}]


def test_tinyworld_needs_no_files(rows: Rows) -> None:
    source = {"embedded": "tinyworld", "part": "dialogues", "rows": {"train": 20}}
    assert len(rows(dataset("pairs", source=source))) == 20
    assert len(rows(dataset("pairs", source=source, splits={"test": "train[:5]"}), "test")) == 5


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", "a.txt: empty"),
        ("a.txt", b"one\n\nthree\n", "a.txt, row 2: `text` is empty"),
        ("a.txt", b"one\n\xff\xfe\n", "a.txt, line 2: not UTF-8"),
        ("a.jsonl", b'{"text": "one"}\n{"text": "tw', "a.jsonl, row 2: not valid JSON"),
        ("a.jsonl", b'{"text": "one"}\n[1]\n', "a.jsonl, row 2: not a JSON object"),
        ("a.jsonl", b'{"text": "one"}\n{"txt": "two"}\n', "a.jsonl, row 2: no column text; it has txt"),
        ("a.jsonl", b'{"text": 5}\n', "a.jsonl, row 1: `text` is int, not text"),
        ("a.jsonl", b'{"text": null}\n', "a.jsonl, row 1: `text` is missing; fix the row or leave it out"),
        ("a.csv", b"id,body\n1,one\n", "a.csv: no column text; it has id, body"),
        ("a.csv", b"id,text\n1,one\n2\n", "a.csv, row 2: 1 fields"),
        ("a.csv", b'id,text\n1,one\n2,"two', "a.csv, row 2 .*damaged CSV"),
        ("a.csv", b"id,text\n", "contains no rows"),
        ("a.parquet", b"PAR1 but not really", "a.parquet: damaged or truncated Parquet"),
        ("a.bin", b"?", "a.bin: unknown kind of file"),
    ],
)
def test_a_bad_file_is_named_with_its_row(tmp_path: Path, rows: Rows, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        rows(dataset(**files(tmp_path / name)))
    assert not list(tmp_path.glob("rows/*"))


def test_a_truncated_parquet_file_is_named(tmp_path: Path, rows: Rows) -> None:
    path = texts(tmp_path / "a.parquet", [f"text {number}" for number in range(5000)])
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"a\.parquet: damaged or truncated"):
        rows(dataset(**files(path)))


def test_a_parquet_file_damaged_inside_is_named(tmp_path: Path, rows: Rows) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"text": [f"text {number}" for number in range(5000)]})
    pq.write_table(table, path, row_group_size=2500, compression="zstd", write_page_checksum=True)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 200] = bytes(200)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"a\.parquet"):
        rows(dataset(**files(path)))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"endings": ["a", "b", "c"]}, "row 2: `endings` holds 3 endings, not 4"),
        ({"endings": "abcd"}, "row 2: `endings` is 'abcd', not a list of texts; CSV can't hold one"),
        ({"endings": ["a", "b", 3, "d"]}, r"row 2: `endings` is \['a', 'b', 3, 'd'\], not a list of texts"),
        ({"endings": ["a", "b", "c", " "]}, "row 2: `endings` holds no text in ending 3; fix the row or leave it out"),
        ({"label": 4}, "row 2: `label` is 4, not a number from 0 to 3"),
        ({"label": -1}, "row 2: `label` is -1"),
        ({"label": ""}, "row 2: `label` is ''"),
        ({"label": True}, "row 2: `label` is True"),
        ({"label": 1.5}, "row 2: `label` is 1.5"),
        ({"ctx": " "}, "row 2: `ctx` is empty"),
    ],
)
def test_a_bad_item_names_its_row(tmp_path: Path, rows: Rows, changed: dict[str, Any], message: str) -> None:
    good = {
        "id": 1,
        "activity_label": "",
        "ctx_a": "A",
        "ctx_b": "b",
        "ctx": "A b",
        "endings": list("abcd"),
        "label": 0,
    }
    path = tmp_path / "items.jsonl"
    path.write_text("\n".join(json.dumps(item) for item in (good, good | changed)))
    with pytest.raises(InputError, match=message):
        rows(dataset("choices", **files(path)))


def test_an_empty_target_names_its_row(tmp_path: Path, rows: Rows) -> None:
    path = write_csv(tmp_path / "a.csv", [["id", "source", "target"], ["1", "a", "b"], ["2", "a", ""]])
    with pytest.raises(InputError, match=r"a\.csv, row 2: `target` is empty"):
        rows(dataset("pairs", **files(path)))


def test_a_missing_part_of_a_mirror_is_named(folder: Path, rows: Rows) -> None:
    texts(folder / "train-00000-of-00002.parquet", ["one"])
    with pytest.raises(InputError, match=r"train-00001-of-00002\*: missing"):
        rows(dataset())
    (folder / "train-00000-of-00002.parquet").rename(folder / "train-00000-of-00002-a09b74b3ef9c3b56.parquet")
    with pytest.raises(InputError, match=r"train-00001-of-00002\*: missing"):
        rows(dataset())
    with pytest.raises(InputError, match=r"no split 'test'; there are train \(train-00000-of-00002"):
        rows(dataset(splits={"test": "test"}), "test")
    with pytest.raises(InputError, match="no such folder in the mirror"):
        rows(dataset(source={"hub": "org/other", "revision": "abc"}))


def test_a_split_or_slice_that_cannot_be_is_refused(tmp_path: Path, rows: Rows) -> None:
    path = texts(tmp_path / "a.parquet", ["one"])
    with pytest.raises(InputError, match="no split 'test'; there are train"):
        rows(dataset(**files(path)), "test")
    with pytest.raises(ValidationError, match=r"train\[a:b\]"):
        dataset(splits={"train": "train[a:b]"}, **files(path))
    with pytest.raises(ValidationError, match="the source has no split 'other'; it has train"):
        dataset(splits={"train": "other"}, **files(path))


@pytest.mark.parametrize(("kind", "column"), [("text", "source"), ("pairs", "text"), ("choices", "ending")])
def test_a_column_that_is_none_of_the_kind_s_is_refused_with_the_entry(kind: str, column: str) -> None:
    with pytest.raises(ValidationError, match=f"columns: '{column}' is not a column of kind {kind}: "):
        dataset(kind, columns={column: "theirs"})


def test_progress_tells_the_rows_written(tmp_path: Path) -> None:
    path = texts(tmp_path / "a.parquet", [str(number) for number in range(2500)])
    told: list[int] = []
    download("some", dataset(**files(path)), "train", tmp_path / "rows/train.parquet", progress=told.append)
    assert told[-1] == 2500
    assert told == sorted(told)
