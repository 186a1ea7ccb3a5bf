import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainyard.core.errors import InputError
from trainyard.core.files import sha256_file
from trainyard.data.tinyworld import rows
from trainyard.evaluate.shortcuts import CORPUS_ROWS, score_shortcuts


def item(ctx: str, endings: Sequence[str], label: int, level: str = "") -> dict[str, Any]:
    return {"ctx": ctx, "endings": list(endings), "label": label, "level": level}


def scored(
    folder: Path, items: list[dict[str, Any]], corpus: Sequence[str] | None = None, limit: int | None = None
) -> dict[str, Any]:
    pq.write_table(pa.Table.from_pylist(items), folder / "items.parquet")
    if corpus is not None:
        pq.write_table(pa.table({"text": list(corpus)}), folder / "corpus.parquet")
    score_shortcuts(
        folder / "items.parquet",
        folder / "corpus.parquet" if corpus is not None else None,
        folder / "shortcuts.json",
        "invented",
        "test",
        limit,
    )
    return json.loads((folder / "shortcuts.json").read_text())


def values(result: dict[str, Any]) -> dict[str, float]:
    return {name: baseline["accuracy"]["value"] for name, baseline in result["baselines"].items()}


def test_each_mention_prefers_its_own_ending(tmp_path: Path) -> None:
    context = "Ada went to Rome. Ada went to Oslo. Oslo is cold. Oslo is calm. Ada went to Bath. Ada is"
    found = [
        values(scored(tmp_path, [item(context, ["in Rome.", "in Oslo.", "in Bath.", "in Lima."], label)]))
        for label in range(4)
    ]
    assert [value["first-mentioned"] for value in found] == [1, 0, 0, 0]
    assert [value["most-mentioned"] for value in found] == [0, 1, 0, 0]
    assert [value["last-mentioned"] for value in found] == [0, 0, 1, 0]
    assert [value["any-mentioned"] for value in found] == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0])


def test_a_tie_is_worth_the_guess_among_the_preferred(tmp_path: Path) -> None:
    result = scored(tmp_path, [item("Nothing is told.", ["one", "two", "three", "four"], 2)])
    assert set(values(result).values()) == {0.25}
    assert result["chance"] == {"value": 0.25}


def test_words_that_every_ending_has_tell_nothing(tmp_path: Path) -> None:
    result = scored(tmp_path, [item("in in the the Rome", ["in the Rome", "in the Bath"], 0)])
    assert values(result)["last-mentioned"] == 1


def test_the_most_frequent_ending_is_that_of_the_training_text(tmp_path: Path) -> None:
    corpus = ["Rome and Bath.", "Bath, then Oslo.", "bath"]
    items = [item("Ada is", ["in Rome.", "in Bath.", "in Oslo.", "in Lima."], label) for label in (0, 1, 1, 3)]
    result = scored(tmp_path, items, corpus)
    assert values(result)["most-frequent"] == 0.5
    assert result["baselines"]["most-frequent"]["accuracy"]["standard_error"] == pytest.approx(math.sqrt(1 / 3 / 4))


def test_without_a_training_text_there_is_no_most_frequent_ending(tmp_path: Path) -> None:
    assert "most-frequent" not in values(scored(tmp_path, [item("Ada is", ["here", "there"], 0)]))


def test_a_limit_scores_the_first_items_and_is_recorded(tmp_path: Path) -> None:
    items = [item("in Rome", ["Rome", "Bath"], label) for label in (0, 0, 1, 1)]
    result = scored(tmp_path, items, limit=2)
    assert (result["n"], result["limit"], result["split"]) == (2, 2, "test")
    assert result["rows_sha256"] == sha256_file(tmp_path / "items.parquet")
    assert values(result)["last-mentioned"] == 1
    assert values(scored(tmp_path, items))["last-mentioned"] == 0.5


def test_of_a_long_corpus_the_first_rows_are_counted_and_that_is_recorded(tmp_path: Path) -> None:
    corpus = ["Rome"] + [""] * (CORPUS_ROWS - 1) + ["Bath Bath"]
    result = scored(tmp_path, [item("Ada is", ["in Rome.", "in Bath."], 0)], corpus)
    assert values(result)["most-frequent"] == 1
    assert result["corpus"] == {
        "file": str(tmp_path / "corpus.parquet"),
        "rows": CORPUS_ROWS,
        "at_most": CORPUS_ROWS,
    }
    assert scored(tmp_path, [item("Ada is", ["in Rome.", "in Bath."], 0)])["corpus"] is None


def test_endings_that_give_themselves_away_are_found_without_the_context(tmp_path: Path) -> None:
    items = [item("Ada is", ["surely right", "surely wrong", "oddly wrong", "never wrong"], 0) for _ in range(20)]
    assert values(scored(tmp_path, items))["ending-alone"] == 1


def test_the_classifier_of_endings_learns_nothing_from_the_item_it_scores(tmp_path: Path) -> None:
    items = [item("Ada is", [f"a{n}", f"b{n}", f"c{n}", f"d{n}"], n % 4) for n in range(40)]
    assert values(scored(tmp_path, items))["ending-alone"] == 0.25


def test_levels_are_scored_apart_and_no_level_is_none(tmp_path: Path) -> None:
    items = [item("in Rome", ["Rome", "Bath"], 0, "easy"), item("in Rome", ["Rome", "Bath"], 1, "hard")]
    levels = scored(tmp_path, items)["baselines"]["last-mentioned"]["levels"]
    assert {level: (found["n"], found["value"]) for level, found in levels.items()} == {"easy": (1, 1), "hard": (1, 0)}
    assert levels["easy"]["standard_error"] is None  # one answer has no spread
    assert scored(tmp_path, [item("in Rome", ["Rome", "Bath"], 0)])["baselines"]["last-mentioned"]["levels"] == {}


def test_items_of_ordinary_prose_are_scored_too(tmp_path: Path) -> None:
    endings = ["takes the ladder to the roof.", "sings.", "is in a boat.", "throws a ball over the net."]
    result = values(scored(tmp_path, [item("A man puts a ladder beside the roof. He", endings, 0)]))
    assert result["any-mentioned"] == 1
    assert result["last-mentioned"] == 1


def test_a_label_that_is_no_ending_names_its_row(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"items.parquet, row 1: label 4 is none of its 2 endings"):
        scored(tmp_path, [item("a", ["b", "c"], 0), item("a", ["b", "c"], 4)])


def test_no_items_is_an_error(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist([item("a", ["b", "c"], 0)]).slice(0, 0), tmp_path / "items.parquet")
    with pytest.raises(InputError, match="no rows"):
        score_shortcuts(tmp_path / "items.parquet", None, tmp_path / "out.json", "invented", "test")


def test_no_shortcut_scores_on_tinyworld(tmp_path: Path) -> None:
    """1000 items a level: one standard error is at most 0.014, the bound three of them."""
    corpus = [row["text"] for row in rows("stories", "train", 10_000, 0)]
    result = scored(tmp_path, list(rows("endings", "test", 4000, 0)), corpus)
    assert list(result["baselines"]) == [
        "ending-alone",
        "any-mentioned",
        "first-mentioned",
        "last-mentioned",
        "most-mentioned",
        "most-frequent",
    ]
    for baseline in result["baselines"].values():
        for level in baseline["levels"].values():
            assert level["n"] == 1000
            assert abs(level["value"] - 0.25) <= 0.041


def test_answers_have_wilsons_interval_and_guesses_students(tmp_path: Path) -> None:
    right = [item("in Rome", ["Rome", "Bath"], int(number < 4)) for number in range(10)]
    found = scored(tmp_path, right)["baselines"]["last-mentioned"]["accuracy"]
    assert found["value"] == 0.6
    assert (found["low"], found["high"]) == pytest.approx((0.3127, 0.8318), abs=1e-4)  # Wilson 1927, 6 of 10
    mixed = [*right, item("Nothing is told.", ["Rome", "Bath"], 0), item("in Oslo", ["Oslo", "Bath"], 0)]
    found = scored(tmp_path, mixed)["baselines"]["last-mentioned"]["accuracy"]
    points = [1.0] * 7 + [0.0] * 4 + [0.5]
    error = statistics.stdev(points) / math.sqrt(12)
    assert found["standard_error"] == pytest.approx(error)
    assert found["low"] == pytest.approx(statistics.fmean(points) - 2.2010 * error, abs=1e-4)  # t of 11 degrees


def test_a_shortcut_that_always_ties_scores_chance_with_no_error_to_tell(tmp_path: Path) -> None:
    rows = [item("Nothing is told.", ["one", "two", "three", "four"], label) for label in range(4)]
    found = scored(tmp_path, rows)["baselines"]["last-mentioned"]["accuracy"]
    assert found == {"value": 0.25, "standard_error": None, "low": None, "high": None}


def test_shortcuts_see_the_words_of_any_script(tmp_path: Path) -> None:
    hindi = [item("वह घर गया।", ["घर", "नदी"], 0), item("वह नदी गया।", ["घर", "नदी"], 1)]
    chinese = [item("他去了北京。", ["北京", "上海"], 0), item("他去了上海。", ["北京", "上海"], 1)]
    for items in (hindi, chinese):
        assert scored(tmp_path, items)["baselines"]["any-mentioned"]["accuracy"]["value"] == 1
