"""Items that share an n-gram with a training text."""

import json
import logging
import os
import subprocess
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainyard.core.errors import InputError
from trainyard.core.files import sha256_file
from trainyard.data.download import download
from trainyard.evaluate import contamination as module
from trainyard.evaluate.contamination import NgramIndex, find_contamination, split_words, window_hashes
from trainyard.plan.configuration import read_catalogues

SOURCE = Path(module.__file__).parents[2]
CONFIG = Path(__file__).resolve().parents[2] / "config"
THIRTEEN = "a man in a red hat walks his old dog along the beach"


def looked(
    folder: Path,
    training: Sequence[str] | Mapping[str, Sequence[str]],
    items: Sequence[str] | Sequence[dict[str, Any]],
    ngram: int = 13,
    threads: int = 1,
    group: int = 1000,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The JSON and the items; texts alone are rows of kind text, `group` is the rows of a row group."""
    columns = training if isinstance(training, Mapping) else {"text": training}
    pq.write_table(pa.table(dict(columns)), folder / "train.parquet", row_group_size=group)
    rows = [{"text": item} if isinstance(item, str) else item for item in items]
    pq.write_table(pa.Table.from_pylist(rows), folder / "items.parquet")
    names = {"trained_on": "books", "dataset": "quiz", "split": "test"}
    output = folder / "quiz-test.json"
    found = find_contamination(
        folder / "train.parquet", folder / "items.parquet", output, **names, ngram=ngram, threads=threads
    )
    assert json.loads(output.read_text()) == found
    return found, pq.read_table(output.with_suffix(".parquet")).to_pylist()


def words(text: str) -> list[str]:
    """The words of one text, empty ones left out."""
    return [word for word in split_words(pa.array([text]))[0].to_pylist() if word]


def test_thirteen_shared_words_contaminate_and_twelve_do_not(tmp_path: Path) -> None:
    assert len(words(THIRTEEN)) == 13
    twelve = THIRTEEN.rsplit(" ", 1)[0]
    found, items = looked(
        tmp_path, [f"Yesterday {THIRTEEN} again."], [f"Look: {THIRTEEN}!", f"Look: {twelve} shore, he says."]
    )
    assert items == [
        {"row": 0, "ngrams": 2, "overlapping": 1, "contaminated": True, "example": THIRTEEN},
        {"row": 1, "ngrams": 4, "overlapping": 0, "contaminated": False, "example": None},
    ]
    assert (found["n"], found["contaminated"], found["share"], found["short"]) == (2, 1, 0.5, 0)
    assert found["overlap"] == (1 / 2 + 0 / 4) / 2


def test_case_and_punctuation_hide_no_overlap(tmp_path: Path) -> None:
    _, items = looked(
        tmp_path, ["the cat — it's MY cat! — sat;\n\tdown"], ["The (cat) its my CAT sat? Down..."], ngram=7
    )
    assert items[0]["example"] == "the cat its my cat sat down"


def test_words_go_as_in_the_harness_and_beyond_ascii_alike() -> None:
    assert words("I'm a very !dirty,, ,,  dirty boy.") == ["im", "a", "very", "dirty", "dirty", "boy"]
    assert words("  “Où?” — «ÉCOLE»… $5 & x_1 \N{NO-BREAK SPACE}中文。字 🙂 ") == ["où", "école", "5", "x1", *"中文字"]
    assert words("— !? —") == []


def test_white_space_at_an_end_makes_no_words_whatever_stands_behind_it_in_memory() -> None:
    texts = [" — a é c. B", "b \n — \n c ", "\n \n"]
    draw = np.random.default_rng(0)
    others: list[bytes] = []
    for _ in range(300):
        others = [draw.bytes(int(draw.integers(1, 3000))), *others[:50]]
        found, begins = split_words(pa.array(texts))
        assert found.to_pylist() == ["a", "é", "c", "b", "b", "c", ""]
        assert begins.tolist() == [0, 4, 6, 7]


def test_no_n_gram_goes_from_one_text_into_the_next(tmp_path: Path) -> None:
    _, items = looked(tmp_path, ["one two", "three four"], ["one two three four"], ngram=3)
    assert [item["overlapping"] for item in items] == [0]
    _, items = looked(tmp_path, ["two three four"], [{"source": "one two", "target": "three four"}], ngram=3)
    assert [(item["ngrams"], item["overlapping"]) for item in items] == [(0, 0)]


def test_pairs_are_looked_through_and_looked_for_on_both_sides(tmp_path: Path) -> None:
    training = {"source": ["a b c", "x"], "target": ["d", "e f g"]}
    items = [{"source": "a b c", "target": "d"}, {"source": "q", "target": "e f g h"}, {"source": "c d", "target": "e"}]
    found, rows = looked(tmp_path, training, items, ngram=3)
    assert [(row["ngrams"], row["overlapping"], row["example"]) for row in rows] == [
        (1, 1, "a b c"),
        (2, 1, "e f g"),
        (0, 0, None),
    ]
    assert (found["short"], found["training_rows"], found["training_words"]) == (1, 2, 8)
    assert found["texts"] == "source and target, each a text"


def test_a_choice_is_its_context_with_the_right_ending(tmp_path: Path) -> None:
    item = {"ctx": "She opens the", "endings": ["red door", "blue door", "car", "sky"], "label": 1}
    found, rows = looked(tmp_path, ["then she opens the red door"], [item], ngram=5)
    assert rows[0]["overlapping"] == 0
    assert found["texts"] == "context and the right ending, as one text"
    _, rows = looked(tmp_path, ["then she opens the blue door"], [item], ngram=5)
    assert rows[0]["example"] == "she opens the blue door"


def test_short_items_are_never_contaminated_and_are_counted_apart(tmp_path: Path) -> None:
    found, items = looked(tmp_path, ["a b c d"], ["a b", "", " ... ", "a b c"], ngram=3)
    assert [item["contaminated"] for item in items] == [False, False, False, True]
    assert (found["short"], found["share"], found["overlap"]) == (3, 0.25, 1.0)
    found, items = looked(tmp_path, ["a b c d"], ["a b"], ngram=13)
    assert (found["short"], found["share"], found["overlap"], items[0]["example"]) == (1, None, None, None)
    assert found["reason"] == "every item is shorter than an n-gram of 13 words; make ngram smaller"


def test_all_may_be_contaminated_or_none(tmp_path: Path) -> None:
    texts = [f"{word} b c d e" for word in "xyz"]
    assert looked(tmp_path, texts, texts, ngram=4)[0]["share"] == 1
    assert looked(tmp_path, ["b c d", "e"], texts, ngram=4)[0]["share"] == 0


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("group", [1, 4, 1000])
def test_neither_batches_nor_threads_change_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int, group: int
) -> None:
    """Every item is in the last row of one batch, the first of the next, or within one."""
    monkeypatch.setattr(module, "BATCH_ROWS", 3)
    texts = [f"row {number} holds its own words" for number in range(10)]
    found, items = looked(tmp_path, texts, [*texts, "row 10 holds its own words"], 6, threads, group)
    assert [item["contaminated"] for item in items] == [True] * 10 + [False]
    assert (found["training_rows"], found["training_words"]) == (10, 60)


def test_a_small_case_by_hand(tmp_path: Path) -> None:
    found, items = looked(
        tmp_path,
        ["The quick brown fox jumps over the lazy dog.", "A fox, a dog."],
        ["quick brown fox! jumps high over the lazy dog", "a fox a dog", "the dog jumps over a fox"],
        ngram=3,
    )
    assert items == [
        # quick brown fox, brown fox jumps, over the lazy, the lazy dog of seven
        {"row": 0, "ngrams": 7, "overlapping": 4, "contaminated": True, "example": "quick brown fox"},
        {"row": 1, "ngrams": 2, "overlapping": 2, "contaminated": True, "example": "a fox a"},
        {"row": 2, "ngrams": 4, "overlapping": 0, "contaminated": False, "example": None},
    ]
    assert {key: found[key] for key in ("training", "dataset", "split", "ngram", "n", "contaminated", "share")} == {
        "training": "books",
        "dataset": "quiz",
        "split": "test",
        "ngram": 3,
        "n": 3,
        "contaminated": 2,
        "share": 2 / 3,
    }
    assert found["overlap"] == pytest.approx((4 / 7 + 1 + 0) / 3)
    assert (found["training_rows"], found["training_words"]) == (2, 13)
    assert found["training_sha256"] == sha256_file(tmp_path / "train.parquet")
    assert found["rows_sha256"] == sha256_file(tmp_path / "items.parquet")


TEXT = st.lists(st.sampled_from(["a", "B", "b", "é", "c.", "—", "c", "\n"]), max_size=12).map(" ".join)


@settings(max_examples=150, deadline=None)
@given(
    training=st.lists(TEXT, max_size=6), items=st.lists(st.lists(TEXT, max_size=2), max_size=5), ngram=st.integers(1, 5)
)
def test_it_is_what_the_definition_says(training: list[str], items: list[list[str]], ngram: int) -> None:
    def grams(text: str) -> list[str]:
        each = words(text)
        return [" ".join(each[place : place + ngram]) for place in range(len(each) - ngram + 1)]

    held = NgramIndex(items, ngram)
    found = np.zeros(held.size, bool)
    count, which = held.find(pa.array(training, pa.string()))
    found[which] = True
    there = {gram for text in training for gram in grams(text)}
    expected = []
    for row, texts in enumerate(items):
        own = [gram for text in texts for gram in grams(text)]
        shared = [gram for gram in own if gram in there]
        example = shared[0] if shared else None
        expected.append(
            {
                "row": row,
                "ngrams": len(own),
                "overlapping": len(shared),
                "contaminated": bool(shared),
                "example": example,
            }
        )
    assert held.items(found).to_pylist() == expected
    assert count == sum(len(words(text)) for text in training)


def test_a_hash_depends_on_the_order_of_its_window_and_not_on_its_place() -> None:
    keys = np.random.default_rng(0).integers(2**64, size=4, dtype=np.uint64)
    hashes = window_hashes(keys[[0, 1, 2, 3, 0, 1, 2, 2, 1, 0]], 3)
    assert len(hashes) == 8
    assert hashes[0] == hashes[4]
    assert hashes[0] != hashes[7]
    assert len(window_hashes(keys, 5)) == 0


def test_equal_hashes_of_other_words_are_no_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every window of the training text hashes as the one item does."""
    real = window_hashes
    held = NgramIndex([["a b c"]], 3)
    monkeypatch.setattr(module, "window_hashes", lambda keys, ngram: np.full(len(keys) - ngram + 1, held._hashes[0]))
    assert held.find(pa.array(["c b a a b", "b c a"]))[1].tolist() == []
    assert held.find(pa.array(["c b a b c"]))[1].tolist() == [0]
    monkeypatch.setattr(module, "window_hashes", lambda keys, ngram: real(keys, ngram) & np.uint64(0))
    with pytest.raises(AssertionError, match="the hash is broken"):
        NgramIndex([["a b c", "b c d"]], 3)


def test_the_rate_and_the_time_left_stand_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("trainyard.launch.progress.SECONDS", 0.0)
    monkeypatch.setattr(module, "BATCH_ROWS", 1)
    with caplog.at_level(logging.INFO):
        looked(tmp_path, ["a b", "c d"], ["a b c"])
    assert "train.parquet: row 1 of 2, " in caplog.text
    assert " rows/s, " in caplog.text
    assert " left" in caplog.text
    assert "train.parquet: 2 rows, 4 words, " in caplog.text
    assert " million words per second" in caplog.text


def test_what_can_not_be_looked_through_is_an_error(tmp_path: Path) -> None:
    names = {"trained_on": "books", "dataset": "quiz", "split": "test"}
    items, training = tmp_path / "items.parquet", tmp_path / "train.parquet"

    def look() -> None:
        find_contamination(training, items, tmp_path / "out.json", **names, ngram=2, threads=1)

    with pytest.raises(InputError, match=r"items\.parquet: no such file"):
        look()
    items.write_text("no Parquet")
    with pytest.raises(InputError, match=r"items\.parquet: not a readable Parquet file"):
        look()
    pq.write_table(pa.table({"text": ["a b"]}), items)
    with pytest.raises(InputError, match=r"train\.parquet: no such file"):
        look()
    pq.write_table(pa.table({"ctx": ["a b"]}), training)
    with pytest.raises(InputError, match=r"train\.parquet: no column text, source or target"):
        look()
    pq.write_table(pa.table({"text": [f"{number} a b" for number in range(5000)]}), training)
    damaged = bytearray(training.read_bytes())
    damaged[4:2000] = bytes(1996)
    training.write_bytes(damaged)
    with pytest.raises(InputError, match=r"train\.parquet: not a readable Parquet file"):
        look()
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), training)
    with pytest.raises(InputError, match=r"train\.parquet: no rows to scan"):
        look()
    assert not (tmp_path / "out.json").exists()


PEAK = """
import re, sys
from pathlib import Path
from trainyard.evaluate.contamination import find_contamination
folder = Path(sys.argv[1])
find_contamination(folder / sys.argv[2], folder / "items.parquet", folder / "out.json",
    trained_on="t", dataset="d", split="test", ngram=13, threads=1)
# its own peak: getrusage gives that of the process which started it, if that was larger
print(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_training_text(tmp_path: Path) -> None:
    """A text of 71 MB, ten times as long as the other: the peaks differ by less than a seventh of that."""
    draw = np.random.default_rng(0)
    vocabulary = np.array([f"word{number}" for number in range(5000)])
    texts = [" ".join(draw.choice(vocabulary, 100)) for _ in range(8000)]
    pq.write_table(pa.table({"text": texts[:200]}), tmp_path / "items.parquet")
    peaks = []
    for times in (1, 10):
        with pq.ParquetWriter(tmp_path / f"{times}.parquet", pa.schema({"text": pa.string()})) as writer:
            for _ in range(8 * times):
                writer.write_table(pa.table({"text": [texts[place] for place in draw.integers(8000, size=1000)]}))
        command = [sys.executable, "-c", PEAK, str(tmp_path), f"{times}.parquet"]
        done = subprocess.run(command, cwd=SOURCE, capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout) * 1024)
    assert peaks[1] - peaks[0] < 10e6, peaks


@pytest.mark.long
@pytest.mark.parametrize(
    ("dataset", "split", "ngram", "share"), [("samsum", "test", 13, 47 / 819), ("wikitext-2-v1", "validation", 8, None)]
)
def test_real_data_by_python_alone(tmp_path: Path, dataset: str, split: str, ngram: int, share: float | None) -> None:
    """Every figure of every item again, from sets of tuples of words."""
    mirror = os.environ.get("TRAINYARD_MIRROR")
    assert mirror, f"set TRAINYARD_MIRROR to a folder in the hub's layout that holds {dataset}"
    entry = read_catalogues(CONFIG).datasets[dataset]
    files = {name: tmp_path / f"{name}.parquet" for name in ("train", split)}
    for name, file in files.items():
        download(dataset, entry, name, file, Path(mirror))
    columns = ["text"] if entry.kind == "text" else ["source", "target"]

    def grams(text: str) -> list[tuple[str, ...]]:
        bare = "".join(mark for mark in text.lower() if unicodedata.category(mark)[0] not in "PS").split()
        return [tuple(bare[place : place + ngram]) for place in range(len(bare) - ngram + 1)]

    def rows(name: str) -> list[list[tuple[str, ...]]]:
        table = pq.read_table(files[name], columns=columns).to_pylist()
        return [[gram for text in row.values() for gram in grams(text)] for row in table]

    names = {"trained_on": dataset, "dataset": dataset, "split": split}
    found = find_contamination(files["train"], files[split], tmp_path / "out.json", **names, ngram=ngram, threads=2)
    items = pq.read_table(tmp_path / "out.parquet").to_pylist()
    there = {gram for row in rows("train") for gram in row}
    for item, own in zip(items, rows(split), strict=True):
        shared = [gram for gram in own if gram in there]
        assert (item["ngrams"], item["overlapping"]) == (len(own), len(shared))
        assert item["example"] == (" ".join(shared[0]) if shared else None)
    assert share is None or found["share"] == share


# text without spaces

CHINESE = "国务院批准了新的预算。总理主持了会议，并且讲话。"


def test_characters_are_the_words_of_a_script_without_spaces(tmp_path: Path) -> None:
    found, items = looked(
        tmp_path, [f"昨天{CHINESE}完"], [CHINESE, "今天没有会议所以大家都回家休息去了", "太短"], ngram=13
    )
    assert [item["contaminated"] for item in items] == [True, False, False]
    assert items[0]["example"] == " ".join("国务院批准了新的预算总理主")
    assert (found["share"], found["short"], found["reason"]) == (1 / 3, 1, None)


def test_marks_stay_with_their_character(tmp_path: Path) -> None:
    assert words("สวัสดี ABC中") == ["ส", "วั", "ส", "ดี", "abc", "中"]


def test_where_every_item_is_too_short_no_share_is_known(tmp_path: Path) -> None:
    found, items = looked(tmp_path, [CHINESE], ["预算", "会议"], ngram=13)
    assert (found["contaminated"], found["share"], found["overlap"], found["short"]) == (0, None, None, 2)
    assert found["reason"] == "every item is shorter than an n-gram of 13 words; make ngram smaller"
    assert [item["contaminated"] for item in items] == [False, False]
