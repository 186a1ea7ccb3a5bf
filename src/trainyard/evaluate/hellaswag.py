"""Four-way endings in HellaSwag's form: which ending does a causal model find likeliest?"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from trainyard.config.catalogue import NonNegativeInt, PositiveInt
from trainyard.errors import InputError
from trainyard.evaluate.hellaswag_items import Item, Protocol, encode_pairs, make_item, queries, with_shots
from trainyard.evaluate.library import compute
from trainyard.evaluate.load import Placement, load_causal, longest, reason_for_no_model
from trainyard.evaluate.rows import read_rows, rows_sha256
from trainyard.evaluate.score import log_likelihoods
from trainyard.evaluate.tokens import start_token
from trainyard.evaluate.write import Names, Result, write_result
from trainyard.intervals import Estimates, as_json, finite, proportion, unflat

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
        "id": pa.string(),
        "level": pa.string(),
        "label": pa.int64(),
        "log_likelihoods": pa.list_(pa.float64()),
        "lengths": pa.list_(pa.int64()),
        "chosen": pa.int64(),
        "chosen_norm": pa.int64(),
        "correct": pa.bool_(),
        "correct_norm": pa.bool_(),
    }
)


class Settings(Placement):
    """The settings of an evaluation on endings."""

    protocol: Protocol = "harness"
    shots: NonNegativeInt = 0
    shots_rows: Path | None = Field(
        None, description="rows that shots are drawn from; the split's own tail unless told"
    )
    held_out: PositiveInt = Field(100, description="rows of the tail that are kept for shots, and not scored")
    seed: NonNegativeInt = Field(1, description="seed of the draw of shots")
    batch_tokens: PositiveInt = Field(2048, description="tokens of a batch with its padding; one row at least")


def run(model_folder: Path, rows: Path, settings: Mapping[str, Any], output: Path, names: Names) -> None:
    """Score the items of `rows` (kind choices) under a causal model and write the result.

    Raises:
        InputError: the model or the rows can't be used, or there are too few rows to draw shots from.
    """
    chosen = Settings.model_validate(settings)
    recorded = chosen.model_dump(mode="json")
    protocol = PROTOCOLS[chosen.protocol] + drawn_from(chosen)
    if reason := reason_for_no_model(model_folder):
        result = Result("hellaswag", protocol, recorded, SCHEMA, reason=reason)
        write_result(output, names, result, model_folder, rows)
        return
    items, pool = read_items(rows, chosen)
    model, tokenizer = load_causal(model_folder, chosen)
    most = longest(model)
    if most is None:
        raise InputError(f"{model_folder}: the model's configuration doesn't say how long a sequence it takes")
    contexts = [with_shots(item, place, pool, chosen.shots, chosen.seed) for place, item in enumerate(items)]
    pairs = [(context, " " + ending) for context, item in zip(contexts, items, strict=True) for ending in item.endings]
    encoded = [
        (before or prefix(tokenizer, rows, context), after)
        for (context, _), (before, after) in zip(pairs, encode_pairs(tokenizer, pairs), strict=True)
    ]
    asked, cut = queries(encoded, most)
    sums = log_likelihoods(model, asked, chosen.batch_tokens, names.evaluation)
    counts = lengths(items, [len(after) for _, after in encoded], chosen.protocol)
    scored = score(items, sums, counts)
    is_finite = finite(sums)
    if chosen.shots_rows:
        recorded["shots_rows_sha256"] = rows_sha256(chosen.shots_rows)
    result = Result(
        metric="hellaswag",
        protocol=protocol,
        settings={**recorded, "cut_contexts": cut, "context": most},
        schema=SCHEMA,
        n=len(items),
        values=headline(items, sums, counts) if is_finite else None,
        reason=None if is_finite else "the model's likelihoods are not finite",
        items=scored,
        extra={"levels": by_level(scored)} if is_finite else None,
    )
    write_result(output, names, result, model_folder, rows)


def drawn_from(settings: Settings) -> str:
    """The sentence of the protocol that tells of its shots."""
    if not settings.shots:
        return "No shots."
    source = (
        f"the split {settings.shots_rows.stem!r}, and every row of the scored split is an item"
        if settings.shots_rows
        else f"the split's own last {settings.held_out} rows, not scored"
    )
    return f"{settings.shots} shots, joined by an empty line, drawn anew for each item from {source}."


def read_items(rows: Path, settings: Settings) -> tuple[list[Item], list[Item]]:
    """The items to score and the items that shots are drawn from.

    Raises:
        InputError: the rows can't be read, or are too few for the shots.
    """
    if not settings.shots or settings.shots_rows:
        scored, tail = read_rows(rows, COLUMNS, settings.limit), []
    else:
        every = read_rows(rows, COLUMNS)
        scored, tail = every[: -settings.held_out][: settings.limit], every[-settings.held_out :]
        if not scored:
            raise InputError(
                f"{rows}: {len(every)} rows, of which {settings.held_out} are held out for shots: none left"
            )
    if settings.shots and settings.shots_rows:
        tail = read_rows(settings.shots_rows, COLUMNS)
    if len(tail) < settings.shots:
        raise InputError(f"{settings.shots_rows or rows}: {len(tail)} rows to draw {settings.shots} shots from")
    return [make_item(row, settings.protocol) for row in scored], [make_item(row, settings.protocol) for row in tail]


def prefix(tokenizer: Any, rows: Path, context: str) -> list[int]:
    """What stands before an ending whose context has no token."""
    start = start_token(tokenizer)
    if start is None:
        raise InputError(f"{rows}: the context {context!r} has no token, and the tokenizer has no start token")
    return [start]


def lengths(items: Sequence[Item], tokens: Sequence[int], protocol: Protocol) -> np.ndarray:
    """What acc_norm divides by, shape `(items, endings)`: characters (harness) or tokens (completion), one at least."""
    if protocol == "harness":
        counts = np.array([[len(ending) for ending in item.endings] for item in items])
    else:
        counts = np.array(tokens).reshape(len(items), -1)
    return np.maximum(counts, 1)


def score(items: Sequence[Item], sums: np.ndarray, counts: np.ndarray) -> list[dict[str, Any]]:
    """One row an item: its log-likelihoods, the endings chosen (the first of equals), and whether they are right."""
    table = sums.reshape(counts.shape)
    chosen, chosen_norm = table.argmax(axis=1), (table / counts).argmax(axis=1)
    return [
        {
            "id": item.id,
            "level": item.level,
            "label": item.label,
            "log_likelihoods": table[row].tolist(),
            "lengths": counts[row].tolist(),
            "chosen": int(chosen[row]),
            "chosen_norm": int(chosen_norm[row]),
            "correct": bool(chosen[row] == item.label),
            "correct_norm": bool(chosen_norm[row] == item.label),
        }
        for row, item in enumerate(items)
    ]


def headline(items: Sequence[Item], sums: np.ndarray, counts: np.ndarray) -> Estimates:
    """Accuracies by the module of `evaluate`; `sums` and `counts` as in `score`."""
    found = compute(
        "hellaswag",
        predictions=sums.reshape(counts.shape).tolist(),
        references=[item.label for item in items],
        lengths=counts.tolist(),
    )
    return unflat(found, ("acc", "acc_norm"))


def estimates(scored: Sequence[Mapping[str, Any]]) -> Estimates:
    """Accuracies of scored items."""
    return {
        "acc": proportion(np.array([item["correct"] for item in scored])),
        "acc_norm": proportion(np.array([item["correct_norm"] for item in scored])),
    }


def by_level(scored: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Accuracies of each level, in order of first appearance; empty where items have no level."""
    levels: dict[str, dict[str, Any]] = {}
    for level in dict.fromkeys(item["level"] for item in scored if item["level"]):
        part = [item for item in scored if item["level"] == level]
        levels[level] = {"n": len(part), **as_json(estimates(part))}
    return levels
