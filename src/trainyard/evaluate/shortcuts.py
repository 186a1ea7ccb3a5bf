"""Baselines that answer multiple-choice items without understanding them.

A model's score means something only where these score near chance. Each baseline
looks at the words in which an item's endings differ: a word that all endings share
tells nothing. Where a baseline prefers several endings equally, it gets the expected
score of a guess among them.
"""

import math
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trainyard.core.errors import InputError
from trainyard.core.files import atomic_file, write_json
from trainyard.core.statistics import estimate_proportion, estimate_ratio
from trainyard.evaluate.rows import read_rows, rows_sha256
from trainyard.evaluate.words import find_words

CORPUS_ROWS = 50_000  # enough that the counts of common words settle; a corpus of billions of tokens has no end
COLUMNS = ("ctx", "endings", "label", "level")
BASELINES = {
    "ending-alone": {
        "title": "ending alone",
        "how": "a naive Bayes classifier of right and wrong endings by their words, without the context; "
        "trained on one half of the items, scored on the other, and the other way round",
    },
    "any-mentioned": {
        "title": "any mentioned",
        "how": "the ending with the largest part of its differing words in the context",
    },
    "first-mentioned": {
        "title": "first mentioned",
        "how": "the ending with the differing word that comes first in the context",
    },
    "last-mentioned": {
        "title": "last mentioned",
        "how": "the ending with the differing word that comes last in the context",
    },
    "most-mentioned": {
        "title": "most mentioned",
        "how": "the ending whose differing words come most often in the context, on average",
    },
    "most-frequent": {
        "title": "most frequent",
        "how": "the ending whose differing words are most frequent in the training text (mean log count)",
    },
}


class Item(TypedDict):
    """A row of items, as far as the baselines read it."""

    ctx: str
    endings: list[str]
    label: int
    level: str


Scores = list[list[float]]
"""A score for each ending of each item, higher for a likelier one: (items, endings)."""


def score_shortcuts(
    items: Path, corpus: Path | None, output: Path, dataset: str, split: str, limit: int | None = None
) -> None:
    """Score every baseline on multiple-choice items, over all and by level.

    Args:
        items: parquet rows of kind choices.
        corpus: parquet rows of kind text, the training text of the models to compare with, of which
            the first 50,000 rows are read; without one, the baseline of the most frequent ending is left out.
        output: the JSON file to write; the points of each item stand beside it, in Parquet.
        dataset: name of the dataset of the items, for the record.
        split: its split.
        limit: the first items only, as the models to compare with are scored.

    Raises:
        InputError: `items` holds no rows, lacks a column, or has an item without a right ending.
    """
    rows = _items(items, limit)
    text = None if corpus is None else read_rows(corpus, ["text"], CORPUS_ROWS)
    scores = {
        "ending-alone": _score_ending_only(rows),
        "any-mentioned": _score_by_context(rows, _score_mentions),
        "first-mentioned": _score_by_context(rows, _score_first),
        "last-mentioned": _score_by_context(rows, _score_last),
        "most-mentioned": _score_by_context(rows, _score_frequency),
    }
    if text is not None:
        scores["most-frequent"] = _score_corpus_frequency(rows, [row["text"] for row in text])
    points = {
        name: [_points(score, row["label"]) for row, score in zip(rows, of_items, strict=True)]
        for name, of_items in scores.items()
    }
    with atomic_file(output.with_suffix(".parquet")) as draft:
        pq.write_table(pa.table({"row": np.arange(len(rows)), **points}), draft)
    write_json(
        output,
        {
            "dataset": dataset,
            "split": split,
            "limit": limit,
            "n": len(rows),
            "rows_sha256": rows_sha256(items),
            "corpus": None if text is None else {"file": str(corpus), "rows": len(text), "at_most": CORPUS_ROWS},
            "chance": {"value": statistics.fmean(1 / len(row["endings"]) for row in rows)},
            "baselines": {name: {**BASELINES[name], **_summary(rows, of_items)} for name, of_items in points.items()},
        },
    )


def _items(path: Path, limit: int | None) -> list[Item]:
    rows: list[Any] = read_rows(path, COLUMNS, limit)
    for number, row in enumerate(rows):
        if not 0 <= row["label"] < len(row["endings"]):
            raise InputError(f"{path}, row {number}: label {row['label']} is none of its {len(row['endings'])} endings")
    return rows


def _distinctive_words(endings: Sequence[str]) -> list[list[str]]:
    """The words of each ending that not every ending has."""
    each = [find_words(ending) for ending in endings]
    shared = set(each[0]).intersection(*each[1:])
    return [[word for word in ending if word not in shared] for ending in each]


def _score_ending_only(rows: list[Item]) -> Scores:
    """Sum of the log odds of an ending's words, learned from the other half of the items."""
    endings = [_distinctive_words(row["endings"]) for row in rows]
    middle = len(rows) // 2
    scores: Scores = []
    for scored, learned in ((slice(middle), slice(middle, None)), (slice(middle, None), slice(middle))):
        right, wrong = Counter[str](), Counter[str]()
        for row, each in zip(rows[learned], endings[learned], strict=True):
            for index, ending in enumerate(each):
                (right if index == row["label"] else wrong).update(ending)
        odds = _log_odds(right, wrong)
        scores += [[sum(odds.get(word, 0.0) for word in ending) for ending in each] for each in endings[scored]]
    return scores


def _log_odds(right: Counter[str], wrong: Counter[str]) -> dict[str, float]:
    """Log of P(word | right) / P(word | wrong) for the words seen, add-one smoothed."""
    seen = right.keys() | wrong.keys()
    balance = math.log((wrong.total() + len(seen)) / (right.total() + len(seen))) if seen else 0.0
    return {word: balance + math.log((right[word] + 1) / (wrong[word] + 1)) for word in seen}


def _score_corpus_frequency(rows: list[Item], corpus: Sequence[str]) -> Scores:
    endings = [_distinctive_words(row["endings"]) for row in rows]
    vocabulary = {word for each in endings for ending in each for word in ending}
    counts: Counter[str] = Counter()
    for text in corpus:
        counts.update(word for word in find_words(text) if word in vocabulary)
    return [[_mean([math.log(counts[word] + 1) for word in ending]) for ending in each] for each in endings]


def _score_by_context(rows: list[Item], score: Callable[[list[str], list[str]], float]) -> Scores:
    scores = []
    for row in rows:
        context = find_words(row["ctx"])
        scores.append([score(context, ending) for ending in _distinctive_words(row["endings"])])
    return scores


def _score_mentions(context: list[str], ending: list[str]) -> float:
    return _mean([float(word in context) for word in ending])


def _score_frequency(context: list[str], ending: list[str]) -> float:
    return _mean([float(context.count(word)) for word in ending])


def _score_first(context: list[str], ending: list[str]) -> float:
    return -min((context.index(word) for word in ending if word in context), default=len(context))


def _score_last(context: list[str], ending: list[str]) -> float:
    return max((index for index, word in enumerate(context) if word in ending), default=-1)


def _mean(values: list[float]) -> float:
    return statistics.fmean(values) if values else 0.0


def _summary(rows: list[Item], points: list[float]) -> dict[str, Any]:
    """Accuracy over all items and by level; the standard error is that of a mean over items."""
    levels: dict[str, list[float]] = {}
    for row, point in zip(rows, points, strict=True):
        if row["level"]:
            levels.setdefault(row["level"], []).append(point)
    return {
        "accuracy": _accuracy(points),
        "levels": {level: {"n": len(of_level), **_accuracy(of_level)} for level, of_level in levels.items()},
    }


def _points(scores: list[float], label: int) -> float:
    """What an item is worth: 1 / k where the right ending is one of k that are preferred, else 0."""
    best = max(scores)
    return 1 / scores.count(best) if scores[label] == best else 0.0


def _accuracy(points: list[float]) -> dict[str, float | None]:
    """The mean with its standard error and 95 % interval: Student's t, or Wilson's where none is a guess."""
    worth = np.array(points)
    if np.isin(worth, (0.0, 1.0)).all():
        return asdict(estimate_proportion(worth))
    return asdict(estimate_ratio(worth, np.ones(len(worth))).clamp(0.0, 1.0))
