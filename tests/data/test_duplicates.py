"""Held-out rows that are trained on are counted, and the first of them is named."""

from pathlib import Path
from typing import Any

import pytest

from trainyard.config.catalogue import Dataset
from trainyard.core.errors import InputError
from trainyard.core.files import read_json
from trainyard.data.download import download
from trainyard.data.duplicates import count_duplicates


@pytest.fixture
def rows(tmp_path: Path) -> Any:
    def write(name: str, lines: list[str], kind: str = "text") -> Path:
        source = tmp_path / f"{name}.{'txt' if kind == 'text' else 'csv'}"
        source.write_text("".join(f"{line}\n" for line in lines))
        entry = Dataset.model_validate(
            {
                "title": name,
                "kind": kind,
                "source": {"files": {"train": str(source)}},
                "splits": {"train": "train"},
                "licence": "CC0",
            }
        )
        download(name, entry, "train", tmp_path / f"{name}.parquet")
        return tmp_path / f"{name}.parquet"

    return write


def count(training: Path, held_out: Path) -> dict[str, Any]:
    output = held_out.with_suffix(".duplicates.json")
    about = count_duplicates(training, held_out, output, trained_on="mine", dataset="other", split="test")
    assert read_json(output) == about
    return about


def test_rows_of_the_same_text_are_counted_each_time_they_stand_there(rows, capsys):
    training = rows("training", ["a lamp", "a kettle", "a lamp", "a sack"])
    held_out = rows("held-out", ["a kite", "a lamp ", "a lamp", "a sack"])
    about = count(training, held_out)
    assert (about["rows"], about["duplicates"], about["first_rows"], about["training_rows"]) == (4, 3, [2, 4], 4)
    said = capsys.readouterr().err
    assert f"warning: {held_out}: 3 of its 4 rows also occur in {training} (the first: row 2)" in said


def test_where_none_is_trained_on_nothing_is_said(rows, capsys):
    about = count(rows("training", ["a lamp"]), rows("held-out", ["A lamp", "lamp", "a  lamp"]))
    assert (about["duplicates"], about["first_rows"]) == (0, [])
    assert capsys.readouterr().err == ""


def test_pairs_are_compared_by_their_sources(rows):
    training = rows("training", ["id,source,target", "1,who is there,a knock", "2,good night,sleep"], "pairs")
    held_out = rows("held-out", ["id,source,target", "7,who is there,a visit", "8,good day,a greeting"], "pairs")
    about = count(training, held_out)
    assert (about["duplicates"], about["first_rows"]) == (1, [1])


def test_texts_and_pairs_are_not_compared(rows):
    pairs = rows("pairs", ["id,source,target", "1,who is there,a knock"], "pairs")
    with pytest.raises(InputError, match="rows of kind text can't be compared with those of kind pairs"):
        count(pairs, rows("text", ["a lamp"]))
