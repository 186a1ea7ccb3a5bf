"""Perplexity a token, word and byte by rolling windows."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from trainyard.config.catalogue import PositiveInt
from trainyard.errors import InputError
from trainyard.evaluate.library import compute
from trainyard.evaluate.load import Placement, load_causal, longest, reason_for_no_model
from trainyard.evaluate.rows import read_rows
from trainyard.evaluate.score import Query, log_likelihoods
from trainyard.evaluate.tokens import encode, start_token
from trainyard.evaluate.write import Names, Result, write_result
from trainyard.intervals import Estimates, finite, ratio, unflat

PROTOCOL = (
    "Each document alone, in windows of `context` tokens that advance by `stride`; every token is scored once, "
    "given the document's start or at least context - stride tokens before it. Words are split at white space, "
    "bytes are UTF-8, both of the original text. "
)
WITH_START = "The first token is conditioned on {token!r} (id {id})."
WITHOUT_START = "The tokenizer has no start token: the first token of a document is not scored, yet its bytes count."
VALUES = ("loss_token", "perplexity_token", "perplexity_word", "perplexity_byte", "bits_per_byte")
SCHEMA = pa.schema(
    {"row": pa.int64(), "tokens": pa.int64(), "words": pa.int64(), "bytes": pa.int64(), "log_likelihood": pa.float64()}
)


class Settings(Placement):
    """The settings of a perplexity."""

    context: PositiveInt | None = Field(None, description="window in tokens; the model's own unless told")
    stride: PositiveInt | None = Field(None, description="tokens between windows; half a window unless told")
    batch_tokens: PositiveInt = Field(2048, description="tokens of a batch with its padding; one row at least")


def run(model_folder: Path, rows: Path, settings: Mapping[str, Any], output: Path, names: Names) -> None:
    """Score the documents of `rows` (column `text`) under a causal model and write the result.

    Raises:
        InputError: the model or the rows can't be used, or the settings don't fit the model.
    """
    chosen = Settings.model_validate(settings)
    if reason := reason_for_no_model(model_folder):
        result = Result("perplexity", PROTOCOL, chosen.model_dump(), SCHEMA, reason=reason)
        write_result(output, names, result, model_folder, rows)
        return
    model, tokenizer = load_causal(model_folder, chosen)
    context, stride = resolve(chosen, longest(model), model_folder)
    start = start_token(tokenizer)
    texts = [(row, item["text"]) for row, item in enumerate(read_rows(rows, ["text"], chosen.limit))]
    texts = [(row, text) for row, text in texts if text.strip()]
    if not texts:
        raise InputError(f"{rows}: no row has any text")
    documents = [
        np.array(ids if start is None else [start, *ids], dtype=np.int64)
        for ids in encode(tokenizer, [text for _, text in texts])
    ]
    scored = np.array([len(ids) - 1 for ids in documents])
    if not scored.sum():
        raise InputError(f"{rows}: no token can be scored: each document is one token, and there is no start token")
    sums = document_log_likelihoods(model, documents, context, stride, chosen.batch_tokens, names.evaluation)
    items = [
        {"row": row, "tokens": int(tokens), **sizes(text), "log_likelihood": float(total)}
        for (row, text), tokens, total in zip(texts, scored, sums, strict=True)
    ]
    begin = (
        WITHOUT_START if start is None else WITH_START.format(token=tokenizer.convert_ids_to_tokens(start), id=start)
    )
    is_finite = finite(sums)
    result = Result(
        metric="perplexity",
        protocol=PROTOCOL + begin,
        settings={**chosen.model_dump(), "context": context, "stride": stride, "start_token": start},
        schema=SCHEMA,
        n=len(items),
        values=headline([text for _, text in texts], scored, sums) if is_finite else None,
        reason=None if is_finite else "the model's likelihoods are not finite",
        items=items,
        extra={"counts": {name: sum(item[name] for item in items) for name in ("tokens", "words", "bytes")}},
    )
    write_result(output, names, result, model_folder, rows)


def resolve(settings: Settings, limit: int | None, folder: Path) -> tuple[int, int]:
    """The context and the stride, in tokens.

    Raises:
        InputError: the context is longer than the model takes, or the stride leaves tokens unscored.
    """
    context = settings.context or limit
    if context is None:
        raise InputError(f"{folder}: the model has no longest sequence of its own; set context")
    if limit is not None and context > limit:
        raise InputError(f"context {context}: {folder} takes {limit} tokens at most")
    stride = settings.stride or max(1, context // 2)
    if stride > context:
        raise InputError(f"stride {stride}: no more than the context, {context}, or tokens would go unscored")
    return context, stride


def windows(length: int, context: int, stride: int) -> Iterator[tuple[int, int, int]]:
    """Cut a sequence of `length` tokens into `(begin, end, scored)`.

    Tokens `begin` to `end - 1` are read (all but the last as input: `context` at most)
    and the last `scored` of them are scored; token 0 never is.
    """
    done = 1
    while done < length:
        end = min(length, done + (stride if done > 1 else context))
        yield max(0, end - context - 1), end, end - done
        done = end


def document_log_likelihoods(
    model: Any, documents: list[np.ndarray], context: int, stride: int, batch_tokens: int, title: str
) -> np.ndarray:
    """The log-likelihood of each document after its first token, in nats, shape `(documents,)`."""
    owners, cut = [], []
    for index, ids in enumerate(documents):
        for begin, end, scored in windows(len(ids), context, stride):
            owners.append(index)
            cut.append(Query(ids[begin : end - scored], (ids[end - scored : end],)))
    return np.bincount(owners, log_likelihoods(model, cut, batch_tokens, title), minlength=len(documents))


def sizes(text: str) -> dict[str, int]:
    """Words and bytes of a text."""
    return {"words": len(text.split()), "bytes": len(text.encode())}


def headline(texts: list[str], tokens: np.ndarray, sums: np.ndarray) -> Estimates:
    """Loss, perplexities and bits a byte by the module of `evaluate`; scored tokens and sums, shapes `(documents,)`."""
    found = compute("perplexity", predictions=sums.tolist(), references=texts, tokens=tokens.tolist())
    return unflat(found, VALUES)


def estimates(items: list[dict[str, Any]]) -> Estimates:
    """Loss (nats a token), perplexities, and bits a byte, of documents with their sizes and log-likelihoods."""
    losses = -np.array([item["log_likelihood"] for item in items], dtype=np.float64)
    token, word, byte = (
        ratio(losses, np.array([item[name] for item in items], dtype=np.float64))
        for name in ("tokens", "words", "bytes")
    )
    exponentials = (token.exponential(), word.exponential(), byte.exponential())
    return dict(zip(VALUES, (token, *exponentials, byte.scaled(1 / math.log(2))), strict=True))
