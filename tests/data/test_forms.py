"""One text has one meaning, whatever the form of its file; or a sentence says why it has none."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from datasets import load_dataset
from pydantic import ValidationError

from trainyard.config.catalogue import Dataset
from trainyard.core.errors import InputError
from trainyard.data.download import download
from trainyard.data.json_values import values
from trainyard.data.stored_rows import read_rows

# what is no end of a line to most, and is to Python's str.splitlines
MARKS = "a\x0bb\x0cc\x1cd\x85e\u2028f\u2029g"
WIKITEXT = ["= Lamp = ", "", "A lamp gives light . ", "Some hang . ", "", "= = History = = ", "", "Oil . ", " "]
WIKITEXT += ["= Kettle = ", "", "It boils . "]
ITEM = {"activity_label": "", "ctx_a": "", "ctx_b": "", "ctx": "A man", "endings": ["a", "b", "c", "d"], "label": 0}
LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"

Read = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """The rows that a file gives: its bytes, objects for JSON lines, or columns for Parquet."""

    def get(name: str, content: Any, kind: str = "text", **more: Any) -> list[dict[str, Any]]:
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif path.suffix == ".parquet":
            pq.write_table(pa.Table.from_pylist(content), path)
        else:
            path.write_text("".join(f"{json.dumps(row)}\n" for row in content))
        source = {"files": {"train": str(path)}}
        entry = {"title": "T", "kind": kind, "source": source, "splits": {"train": "train"}, "licence": "CC0"}
        output = tmp_path / f"{name} rows/train.parquet"
        download("some", Dataset.model_validate(entry | more), "train", output)
        return list(read_rows(output, kind))

    return get


def texts(rows: list[dict[str, Any]]) -> list[str]:
    return [row["text"] for row in rows]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["no BOM", "BOM"])
def test_every_end_of_a_line_and_a_bom_give_the_same_rows(read: Read, end: str, mark: str) -> None:
    expected = ["one", MARKS, "caf\u00e9 \U0001f600"]
    forms = {
        "a.txt": "".join(f"{text}{end}" for text in expected),
        "b.txt": end.join(expected),
        "a.csv": end.join(["id,text", *(f"{number},{text}" for number, text in enumerate(expected)), ""]),
        "a.tsv": end.join(["id\ttext", *(f"{number}\t{text}" for number, text in enumerate(expected)), ""]),
        "a.jsonl": end.join(json.dumps({"text": text}, ensure_ascii=False) for text in expected),
        "b.jsonl": end.join(["", *(json.dumps({"text": text}) for text in expected), "", ""]),
        "a.json": f"[{end}{f',{end}'.join(json.dumps({'text': text}, ensure_ascii=False) for text in expected)}{end}]",
        "b.json": json.dumps([{"text": text} for text in expected]),
        "c.json": json.dumps([{"text": text} for text in expected], indent=2).replace("\n", end),
        "d.jsonl": json.dumps([{"text": text} for text in expected]),
    }
    for name, content in forms.items():
        assert texts(read(name, (mark + content).encode())) == expected, name
    assert texts(read("a.parquet", [{"text": text} for text in expected])) == expected


def test_the_datasets_library_ends_lines_at_the_same_places(tmp_path: Path, read: Read) -> None:
    content = f"one\r\n{MARKS}\rtwo\n".encode()
    found = texts(read("a.txt", content))
    peer: Any = load_dataset("text", data_files=str(tmp_path / "a.txt"), cache_dir=str(tmp_path / "cache"))
    assert found == peer["train"]["text"] == ["one", MARKS, "two"]


def test_line_ends_within_quotes_are_text(read: Read) -> None:
    rows = read("a.csv", b'id,text\r\n1,"one\r\ntwo\rthree\nfour, ""five"""\r\n2,six\r\n')
    assert texts(rows) == ['one\r\ntwo\rthree\nfour, "five"', "six"]


def test_what_csv_holds_is_text(read: Read) -> None:
    rows = read("a.csv", b"text\nNA\n007\n1e5\nnull\nTrue\n\n\0\n")
    assert texts(rows) == ["NA", "007", "1e5", "null", "True", "\0"]


@pytest.mark.parametrize("name", ["a.txt", "b.txt", "a.parquet", "b.parquet", "a.jsonl", "a.csv"])
def test_wikitext_gives_the_same_articles_in_every_form(read: Read, name: str) -> None:
    contents: dict[str, Any] = {
        "a.txt": "".join(f"{line}\n" for line in WIKITEXT).encode(),
        "b.txt": "\r\n".join(line or " " for line in WIKITEXT).encode(),
        # the hub's rows keep the ends of lines, but of those that are empty
        "a.parquet": [{"text": f"{line}\n" if line.strip() else line} for line in WIKITEXT],
        "b.parquet": [{"text": f"{line}\n" if line.strip() else ""} for line in WIKITEXT],
        "a.jsonl": [{"text": line} for line in WIKITEXT],
        "a.csv": ("id,text\n" + "".join(f"{number},{line}\n" for number, line in enumerate(WIKITEXT))).encode(),
    }
    assert texts(read(name, contents[name], documents="wikitext")) == [
        "= Lamp = \nA lamp gives light . \nSome hang . \n= = History = = \nOil . \n",
        "= Kettle = \nIt boils . \n",
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b"text,id,text\nthe article,1,its teaser\n"),
        ("a.tsv", b"text\ttext\nthe article\tits teaser\n"),
        ("a.jsonl", b'{"text": "the article", "text": "its teaser"}\n'),
        ("a.json", b'[{"id": 1, "text": "the article", "text": "its teaser"}]'),
        ("a.parquet", b""),
    ],
)
def test_a_column_that_stands_twice_is_refused_by_its_name(
    tmp_path: Path, read: Read, name: str, content: bytes
) -> None:
    if name.endswith(".parquet"):
        pq.write_table(pa.table([["the article"], ["its teaser"]], names=["text", "text"]), tmp_path / "made")
        content = (tmp_path / "made").read_bytes()
    with pytest.raises(InputError, match=rf"{name}(, row 1)?: the column text appears twice; give one of the two"):
        read(name, content)


def test_a_column_that_is_not_read_may_stand_twice(read: Read) -> None:
    assert texts(read("a.csv", b"text,,\none,,\n")) == ["one"]
    assert texts(read("a.jsonl", b'{"text": "one", "tag": {"a": 1, "a": 2}, "tag": 1}\n')) == ["one"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "one\n".encode("utf-16"), r"a\.txt: UTF-16 or UTF-32, not UTF-8; convert it: iconv -f UTF-16"),
        ("a.txt", "one\n".encode("utf-16-le"), r"a\.txt: UTF-16 or UTF-32"),
        *(
            ("a.txt", f"{line}\n".encode("utf-16-le"), r"a\.txt: UTF-16 or UTF-32")
            for line in ("мир", "κόσμος", "שלום", "سلام")
        ),
        ("a.csv", "text\none\n".encode("utf-32"), r"a\.csv: UTF-16 or UTF-32"),
        ("a.jsonl", '{"text": "one"}'.encode("utf-16"), r"a\.jsonl: UTF-16 or UTF-32"),
        ("a.json", '[{"text": "one"}]'.encode("utf-16"), r"a\.json: UTF-16 or UTF-32"),
        ("a.txt", "one\rcaf\u00e9\r".encode("latin-1"), r"a\.txt, line 2: not UTF-8"),
        ("a.json", '[{"text": "caf\u00e9"}]'.encode("latin-1"), r"a\.json: not UTF-8"),
        ("a.json", b'{"data": [{"text": "one"}]}', r"row 1: no column text; it has data\. If the rows are the list in"),
        ("a.json", b'{\n  "data": [\n    {"text": "one"}\n  ]\n}\n', r"row 1: not valid JSON .*; write each object on"),
        ("a.json", b'[{"text": "one"}, {"text": "tw', r"row 2: not valid JSON \(Unterminated"),
        ("a.json", b'[{"text": "one"} {"text": "two"}]', r"row 1: not valid JSON \('{' where ',' or '\]' was expected"),
        ("a.json", b'[{"text": "one"}', r"row 1: not valid JSON \(it ends within the list\)"),
        ("a.json", b'[{"text": "one"}]\n[]', r"row 1: not valid JSON \(more follows the list\)"),
        ("a.json", b'[{"text": "one"}, ["two"]]', r"row 2: not a JSON object"),
        ("a.json", b'["one"]', r"row 1: not a JSON object"),
        ("a.json", b"[]", r"contains no rows"),
        ("a.csv", b"id;text\n1;one\n", r"no column text; it has id;text\. Its columns are between ';': write it"),
        ("a.csv", b"id\ttext\n1\tone\n", r"Its columns are between '\\t': write it with ',' between them"),
        ("a.tsv", b"id,text\n1,one\n", r"Its columns are between ',': write it with '\\t' between them"),
        ("a.csv", b"id,text\n1,one,\n", r"row 1: 3 fields \(up to line 2\), the header has 2; put a field that"),
        ("a.csv", b"id,text\n1,one\n\n2\n", r"row 2: 1 fields \(up to line 4\), the header has 2"),
        ("a.csv", b"id,text\n", r"contains no rows"),
        ("a.csv", b"id,text\n1, \n", r"row 1: `text` is empty"),
        ("a.txt", b"one\n\n", r"row 2: `text` is empty"),
        ("a.txt", b"\xef\xbb\xbf", r"contains no rows|`text` is empty"),
        ("a.jsonl", b'{"text": NaN}', r"row 1: `text` is float, not text"),
        ("a.jsonl", b'{"text": true}', r"row 1: `text` is bool, not text"),
        ("a.jsonl", b'{"text": ["one"]}', r"row 1: `text` is list, not text"),
        ("a.jsonl", b'{"text": {"en": "one"}}', r"row 1: `text` is dict, not text"),
        ("a.jsonl", b'{"text": null}', r"row 1: `text` is missing; fix the row"),
        (
            "a.jsonl",
            b'{"text": "one"}{"text": "two"}',
            r"row 1: not valid JSON \(Extra data.*; write each object on one",
        ),
        ("a.jsonl", b'{"text": "a\tb"}', r"row 1: not valid JSON \(Invalid control character.*; fix the row"),
        ("a.csv", b'text\n"one\ntwo\n', r"row 1 \(line 3\): damaged CSV .*; close each quoted field"),
        ("a.txt", LFS_POINTER, r"a\.txt: what Git LFS leaves in place of the data; fetch that: git lfs pull"),
        ("a.parquet", LFS_POINTER, r"a\.parquet: what Git LFS leaves"),
        ("a.csv", gzip.compress(b"text\none\n", mtime=0), r"a\.csv: compressed by gzip; unpack it"),
        ("a.csv", b"PK\3\4\x14\0", r"a\.csv: a zip archive or an Excel workbook; .* save the sheet as CSV"),
        ("a.txt", b"PAR1\x15\4", r"a\.txt: Parquet under another name; name it \.parquet"),
    ],
)
def test_what_has_no_one_meaning_is_refused_with_a_remedy(read: Read, name: str, content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(name, content)


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_zero_is_a_level_and_an_id(read: Read, suffix: str) -> None:
    rows = read(f"a.{suffix}", [{"id": n, "level": n, **ITEM} for n in (0, 1, 2)], "choices")
    assert [(row["id"], row["level"], row["label"]) for row in rows] == [("0", "0", 0), ("1", "1", 0), ("2", "2", 0)]


def test_missing_levels_and_ids_are_none_of_a_name(read: Read) -> None:
    missing = [None, "", float("nan"), 3.0, 0.5, "0"]
    rows = read("a.jsonl", [{"id": value, "level": value, **ITEM} for value in missing], "choices")
    assert [row["level"] for row in rows] == ["", "", "", "3", "0.5", "0"]
    assert [row["id"] for row in rows] == ["1", "2", "3", "3", "0.5", "0"]


def test_a_label_may_be_a_number_as_text_or_as_pandas_writes_it_beside_missing_ones(read: Read) -> None:
    rows = read("a.jsonl", [{**ITEM, "label": label} for label in (2, "2", " 2 ", 2.0)], "choices")
    assert [row["label"] for row in rows] == [2, 2, 2, 2]


def test_empty_lines_before_the_header_of_a_csv_are_no_header(read: Read) -> None:
    assert texts(read("a.csv", b"\n\r\ntext\none\n")) == ["one"]


@pytest.mark.parametrize("value", [True, ["easy"], {"en": "easy"}])
@pytest.mark.parametrize("column", ["id", "level"])
def test_a_name_that_is_neither_text_nor_number_is_refused(read: Read, column: str, value: Any) -> None:
    with pytest.raises(InputError, match=rf"row 1: `{column}` is {type(value).__name__}, not text or a number"):
        read("a.jsonl", [{column: value, **ITEM}], "choices")


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_one_column_of_the_source_may_be_two_of_ours(read: Read, suffix: str) -> None:
    columns = {"ctx": "question", "ctx_a": "question"}
    rows = read(f"a.{suffix}", [{**ITEM, "question": "Who?"}], "choices", columns=columns)
    assert (rows[0]["ctx"], rows[0]["ctx_a"], rows[0]["ctx_b"]) == ("Who?", "Who?", "")


@pytest.mark.parametrize("columns", [{"source": "text", "target": "text"}, {"source": "target"}])
def test_a_pair_of_one_column_is_refused(read: Read, columns: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="source and target are both"):
        read("a.jsonl", [{"text": "one", "target": "one"}], "pairs", columns=columns)


def test_a_long_list_is_read_by_the_piece(tmp_path: Path) -> None:
    rows = [{"text": f"{number} " + 'x\\\u00e9"' * (number % 97 * 50), "more": [number] * 20} for number in range(9000)]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(rows, ensure_ascii=False, indent=1))
    assert path.stat().st_size > 5 << 20
    assert list(values(path)) == rows


def test_the_entries_that_the_how_to_shows_work_as_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Path(__file__).parents[2] / "docs/how-to/add-a-dataset.md"
    (shown,) = (block for block in page.read_text().split("```") if "my-poems:" in block)
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    Path("data/poems.csv").write_text("poem,author\n" + "".join(f"poem {number},me\n" for number in range(20)))
    pair = {"id": 1, "article": "long", "summary": "short"}
    for split in ("train", "test"):
        Path(f"data/{split}.jsonl").write_text(json.dumps(pair))
    Path("data/items.jsonl").write_text(json.dumps(ITEM))
    for name, entry in yaml.safe_load(shown.removeprefix("yaml")).items():
        dataset = Dataset.model_validate(entry)
        for split in dataset.splits:
            assert download(name, dataset, split, tmp_path / name / f"{split}.parquet")["rows"] in (1, 18)
