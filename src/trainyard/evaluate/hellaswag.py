"""Four-way endings in HellaSwag's form: which ending does a causal model find likeliest?"""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from trainyard.config.protocols import ROWS_FOR_SHOTS
from trainyard.config.values import NonNegativeInt, PositiveInt
from trainyard.core.errors import InputError
from trainyard.core.statistics import Estimates, all_finite, estimate_proportion, to_json, unflatten_estimates
from trainyard.evaluate.batch_size import default_batch_tokens
from trainyard.evaluate.hellaswag_items import (
    Draw,
    Item,
    Protocol,
    Shots,
    add_shots,
    count_lost_context,
    encode_pairs,
    make_item,
    make_queries,
)
from trainyard.evaluate.log_likelihood import log_likelihoods
from trainyard.evaluate.model import Placement, find_max_length, load_causal
from trainyard.evaluate.result_files import Result
from trainyard.evaluate.rows import Block, count_rows, read_rows, rows_sha256, stream_rows
from trainyard.evaluate.scorer import NOT_FINITE, compute
from trainyard.launch.progress import Progress

COLUMNS = ("id", "activity_label", "ctx_a", "ctx_b", "ctx", "endings", "label", "level")
PROTOCOLS: dict[Protocol, str] = {
    "harness": (
        "As lm-evaluation-harness: preprocessed 'activity_label: ctx_a Ctx_b' and endings; acc by the summed "
        "log-likelihood of the ending, acc_norm by the sum over the ending's characters. "
    ),
    "completion": (
        "As karpathy/llm.c: ctx and endings as they stand, no activity label; acc by the summed log-likelihood of "
        "the ending, acc_norm by its mean over tokens. "
    ),
}
SCHEMA = pa.schema(
    {
        "row": pa.int64(),
        "id": pa.string(),
        "level": pa.string(),
        "label": pa.int64(),
        "log_likelihoods": pa.list_(pa.float64()),
        "lengths": pa.list_(pa.int64()),
        "chosen": pa.int64(),
        "chosen_norm": pa.int64(),
        "correct": pa.bool_(),
        "correct_norm": pa.bool_(),
        "cut_tokens": pa.int64(),
        "ending_tokens": pa.list_(pa.int64()),
    }
)
OF_ENDINGS = ("log_likelihoods", "lengths")
SCORED = (*OF_ENDINGS, "chosen", "chosen_norm", "correct", "correct_norm")
"""The columns that an item has where each of its endings could be scored."""


class Settings(Placement):
    """The settings of an evaluation on endings."""

    protocol: Protocol = "harness"
    shots: NonNegativeInt = 0
    shots_rows: Path | None = Field(None, description="rows that shots are drawn from; the split's own tail by default")
    held_out: PositiveInt = Field(
        ROWS_FOR_SHOTS,
        description="rows of the tail that are kept for shots and not scored; half where it has no more",
    )
    draw: Draw = Field("random", description="of shots: anew for each item, or the same first ones for all")
    seed: NonNegativeInt = Field(1234, description="seed of the draw of shots; the default is the harness's")
    batch_tokens: PositiveInt = Field(
        default_factory=lambda settings: default_batch_tokens(settings["device"]),
        description="tokens of a batch with its padding, one row at least; by default by the device's memory",
    )


class Scorer:
    """A causal model at work on endings (see `trainyard.evaluate.scorer.Scorer`)."""

    columns = COLUMNS

    def __init__(self, model_folder: Path, rows: Path, settings: Mapping[str, Any]) -> None:
        self._settings = Settings.model_validate(settings)
        self._rows = rows
        self.stop, pool = stop_and_pool(rows, self._settings)
        self._shots = Shots(pool, self._settings.shots, self._settings.draw, self._settings.seed)
        max_length = find_max_length(model_folder)
        if max_length is None:
            raise InputError(f"{model_folder}: the model's configuration doesn't say how long a sequence it takes")
        self._longest = max_length
        self._model, self._tokenizer = load_causal(model_folder, self._settings)

    def score(self, block: Block, scored: Progress) -> list[dict[str, Any]]:
        """One row per item: its log-likelihoods, the endings chosen, and whether they are right.

        An item is scored where the model takes each of its endings whole after one token of context at least, which
        is what lm-evaluation-harness asserts; else it has none of these.
        """
        items = [make_item(row, self._settings.protocol) for row in block.rows]
        contexts = [add_shots(item, self._shots.before(block.first + index, item)) for index, item in enumerate(items)]
        pairs = [
            (context, " " + ending) for context, item in zip(contexts, items, strict=True) for ending in item.endings
        ]
        encoded = encode_pairs(self._tokenizer, pairs, self._settings.protocol)
        for (context, _), (before, _) in zip(pairs, encoded, strict=True):
            if not before:
                raise InputError(
                    f"{self._rows}: the context {context!r} has no token, and the tokenizer has no start token"
                )
        remaining = iter(encoded)
        by_item = [list(itertools.islice(remaining, len(item.endings))) for item in items]
        whole = [all(0 < len(after) <= self._longest for _, after in endings) for endings in by_item]
        requests = make_queries(list(itertools.compress(by_item, whole)), self._longest)
        done = scored.update_by_piece(len(items), len(requests))
        sums = log_likelihoods(self._model, requests, self._settings.batch_tokens, done)
        tokens = [len(after) for _, after in itertools.chain.from_iterable(itertools.compress(by_item, whole))]
        scorable_items = list(itertools.compress(items, whole))
        results = iter(
            score(scorable_items, sums, ending_lengths(scorable_items, tokens, self._settings.protocol))
            if scorable_items
            else []
        )
        return [
            {
                "row": block.first + index,
                "id": item.id,
                "level": item.level,
                "label": item.label,
                **(next(results) if is_whole else dict.fromkeys(SCORED)),
                "cut_tokens": max(count_lost_context(before, after, self._longest) for before, after in endings),
                "ending_tokens": [len(after) for _, after in endings],
            }
            for index, (item, endings, is_whole) in enumerate(zip(items, by_item, whole, strict=True))
        ]


def describe(settings: Settings) -> str:
    """The protocol in words, with where its shots are from."""
    return PROTOCOLS[settings.protocol] + _describe_shots(settings)


def _describe_shots(settings: Settings) -> str:
    if not settings.shots:
        return "No shots."
    source = (
        f"the split {settings.shots_rows.stem!r}, and every row of the scored split is an item"
        if settings.shots_rows
        else f"the split's own last {settings.held_out} rows, not scored"
    )
    if settings.draw == "first_n":
        return f"{settings.shots} shots, joined by an empty line: the first of {source}, the same for all items."
    return f"{settings.shots} shots, joined by an empty line, drawn anew for each item from {source}."


def count_held_out(rows: int, settings: Settings) -> int:
    """How many of a split's own `rows` are kept for shots: of no more than are to be, the second half."""
    return settings.held_out if rows > settings.held_out else rows // 2


def stop_and_pool(rows: Path, settings: Settings) -> tuple[int, list[Item]]:
    """How many rows from the first are scored, and the items that shots are drawn from.

    Raises:
        InputError: the rows can't be read, or are too few for the shots.
    """
    stop = count_rows(rows)
    pool: list[dict[str, Any]] = []
    if settings.shots and settings.shots_rows:
        pool = read_rows(settings.shots_rows, COLUMNS)
    elif settings.shots:
        stop -= count_held_out(stop, settings)
        pool = list(itertools.islice(stream_rows(rows, COLUMNS), stop, None))
    if settings.shots and len(pool) <= settings.shots:
        raise InputError(
            f"{settings.shots_rows or rows}: {len(pool)} rows to draw {settings.shots} shots from; it takes one more"
        )
    return min(stop, settings.limit or stop), [make_item(row, settings.protocol) for row in pool]


def ending_lengths(items: Sequence[Item], tokens: Sequence[int], protocol: Protocol) -> np.ndarray:
    """What acc_norm divides by, shape `(items, endings)`: characters (harness) or tokens (completion), one at least."""
    if protocol == "harness":
        counts = np.array([[len(ending) for ending in item.endings] for item in items])
    else:
        counts = np.array(tokens).reshape(len(items), -1)
    return np.maximum(counts, 1)


def score(items: Sequence[Item], sums: np.ndarray, counts: np.ndarray) -> list[dict[str, Any]]:
    """Of each item its log-likelihoods, the endings chosen (the first of equals), and whether they are right."""
    table = sums.reshape(counts.shape)
    chosen, chosen_norm = table.argmax(axis=1), (table / counts).argmax(axis=1)
    return [
        {
            "log_likelihoods": table[row].tolist(),
            "lengths": counts[row].tolist(),
            "chosen": int(chosen[row]),
            "chosen_norm": int(chosen_norm[row]),
            "correct": bool(chosen[row] == item.label),
            "correct_norm": bool(chosen_norm[row] == item.label),
        }
        for row, item in enumerate(items)
    ]


def summarise(scored: Path, settings: Settings, model_folder: Path, rows: Path) -> Result:
    """Accuracies of scored items, by level too."""
    if settings.shots and not settings.shots_rows:
        settings = settings.model_copy(update={"held_out": count_held_out(count_rows(rows), settings)})
    context = find_max_length(model_folder)
    table = pq.read_table(scored, columns=["row", "cut_tokens", "ending_tokens", "correct"])
    lost, unscored = table["cut_tokens"].to_numpy(), table.filter(table["correct"].is_null())
    facts = {
        "context": context,
        "cut_contexts": int((lost > 0).sum()),
        "cut_context_tokens": int(lost.sum()),
        "unscored_items": unscored.num_rows,
    }
    if settings.shots_rows:
        facts["shots_rows_sha256"] = rows_sha256(settings.shots_rows)
    why = describe_unscorable(unscored, context) if unscored.num_rows else None
    if unscored.num_rows == table.num_rows:
        return Result(describe(settings), settings.to_record() | facts, reason=why)
    items = read_scored(scored)
    is_finite = all_finite(items["log_likelihoods"])
    return Result(
        describe(settings),
        settings.to_record() | facts,
        n=len(items["label"]),
        values=compute_scores(items) if is_finite else None,
        reason=None if is_finite else NOT_FINITE,
        extra={"unscored": why} | ({"levels": score_levels(items)} if is_finite else {}),
    )


def describe_unscorable(items: pa.Table, context: int | None) -> str:
    """Which items could not be scored, and why the first of them could not."""
    first = items.slice(0, 1).to_pylist()[0]
    tokens = first["ending_tokens"]
    ending = next((index for index, count in enumerate(tokens) if not count), tokens.index(max(tokens)))
    what = f"has {tokens[ending]:,} tokens, and the model takes {context:,}" if tokens[ending] else "has no token"
    number = "one item has" if items.num_rows == 1 else f"{items.num_rows:,} items have"
    return f"row {first['row']}: ending {ending} {what}; {number} an ending that can't be scored whole: left out"


def read_scored(path: Path) -> dict[str, np.ndarray]:
    """The columns of items that were scored, shapes `(items,)`, and `(items, endings)` of what each ending has."""
    table = pq.read_table(path, columns=["level", "label", *SCORED])
    table = table.filter(table["correct"].is_valid())
    return {
        name: table[name].combine_chunks().flatten().to_numpy().reshape(table.num_rows, -1)
        if name in OF_ENDINGS
        else table[name].to_numpy()
        for name in table.column_names
    }


def compute_scores(scored: Mapping[str, np.ndarray]) -> Estimates:
    """Accuracies of columns of scored items by the module of `evaluate`."""
    scores = compute(
        "hellaswag",
        predictions=scored["log_likelihoods"].tolist(),
        references=scored["label"].tolist(),
        lengths=scored["lengths"].tolist(),
    )
    return unflatten_estimates(scores, ("acc", "acc_norm"))


def estimate_scores(correct: np.ndarray, correct_norm: np.ndarray) -> Estimates:
    """Accuracies of scored items: whether each is right by either choice, shapes `(items,)`."""
    return {"acc": estimate_proportion(correct), "acc_norm": estimate_proportion(correct_norm)}


def score_levels(scored: Mapping[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """Accuracies of each level, in order of first appearance; empty where items have no level."""
    results: dict[str, dict[str, Any]] = {}
    for level in dict.fromkeys(filter(None, scored["level"].tolist())):
        part = scored["level"] == level
        figures = estimate_scores(scored["correct"][part], scored["correct_norm"][part])
        results[level] = {"n": int(part.sum()), **to_json(figures)}
    return results
