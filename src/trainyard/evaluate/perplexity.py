"""Perplexity per token, word and byte."""

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from trainyard.config.values import PositiveInt
from trainyard.core.errors import InputError
from trainyard.core.statistics import Estimates, all_finite, estimate_ratio, unflatten_estimates
from trainyard.data.tokenizer_layouts import unknown_token
from trainyard.evaluate.batch_size import default_batch_tokens
from trainyard.evaluate.encoding import encode, encode_as_harness, harness_start_token, start_token
from trainyard.evaluate.log_likelihood import Query, log_likelihoods
from trainyard.evaluate.model import Placement, find_max_length, load_causal, load_tokenizer
from trainyard.evaluate.result_files import Result
from trainyard.evaluate.rows import Block, count_rows
from trainyard.evaluate.scorer import NOT_FINITE, compute
from trainyard.evaluate.wikitext_detokenizer import count_as_harness, detokenize
from trainyard.evaluate.words import count_letters, count_unspaced_letters
from trainyard.launch.progress import Progress

Protocol = Literal["rolling", "harness"]
Pieces = Callable[[int], Callable[[int], None]]
PROTOCOLS: dict[Protocol, str] = {
    "rolling": (
        "Each document alone, in windows of `context` tokens that advance by `stride`; every token is scored once, "
        "given the document's start or at least context - stride tokens before it. Words are split at white space, "
        "bytes are UTF-8, both of the original text. "
    ),
    "harness": (
        "As lm-evaluation-harness's task wikitext: each document alone, its text joined again as its detokenizer "
        "does, in windows of `context` tokens that don't overlap, but for the last, which is as long as the others. "
        "Words are what stands between white space, empty ends included, bytes are UTF-8, both of the original text. "
    ),
}
WITH_START = "The first token is conditioned on {token!r} (id {id})."
WITHOUT_START = "The tokenizer has no start token: the first token of a document is not scored, yet its bytes count."
TOO_LARGE = "too large for a number"
WITHOUT_SPACES = (
    "{unspaced:,} of the {letters:,} letters are of scripts that put no space between words: what stands "
    "between spaces is no word; compare perplexities per byte"
)
VALUES = ("loss_token", "perplexity_token", "perplexity_word", "perplexity_byte", "bits_per_byte")
STARTS: dict[Protocol, Callable[[Any], int | None]] = {"rolling": start_token, "harness": harness_start_token}
COUNTS = ("tokens", "words", "bytes")
LETTERS = ("letters", "unspaced_letters")
UNSPACED = 0.1  # of the letters: where more are of scripts without spaces, the words between spaces are no words
SCHEMA = pa.schema(
    {"row": pa.int64(), **dict.fromkeys((*COUNTS, *LETTERS, "unknown"), pa.int64()), "log_likelihood": pa.float64()},
)


class Settings(Placement):
    """The settings of a perplexity."""

    protocol: Protocol = "rolling"
    context: PositiveInt | None = Field(None, description="window in tokens; the model's own by default")
    stride: PositiveInt | None = Field(
        None, description="tokens between windows; half a window by default, a whole one for the harness's protocol"
    )
    batch_tokens: PositiveInt = Field(
        default_factory=lambda settings: default_batch_tokens(settings["device"]),
        description="tokens of a batch with its padding, one row at least; by default by the device's memory",
    )


def describe(settings: Settings) -> str:
    """The protocol in words, but for the token before a document, which is the model's."""
    return PROTOCOLS[settings.protocol]


def summarise(scored: Path, settings: Settings, model_folder: Path, rows: Path) -> Result:
    """Loss, perplexities and bits per byte of scored documents.

    Raises:
        InputError: no document has any text, or none a token that can be scored.
    """
    items = pq.read_table(scored)
    if not items.num_rows:
        raise InputError(f"{rows}: no row has any text")
    columns = {name: items[name].to_numpy() for name in SCHEMA.names}
    if not columns["tokens"].sum():
        raise InputError(f"{rows}: no token can be scored: each document is one token, and there is no start token")
    is_finite = all_finite(columns["log_likelihood"])
    context, stride = resolve(settings, find_max_length(model_folder), model_folder)
    start, begin = describe_start(model_folder, settings.protocol)
    letters_of, unspaced = (int(columns[name].sum()) for name in LETTERS)
    values = compute_scores(columns) if is_finite else None
    lacking = {} if values is None else explain_missing(values, letters_of, unspaced)
    facts = {"context": context, "stride": stride, "start_token": start, "unspaced_letters": unspaced}
    unknown = columns["unknown"]
    facts |= {"documents_with_unknown": int(np.count_nonzero(unknown)), "unknown_tokens": int(unknown.sum())}
    facts["documents_beyond_context"] = int((columns["tokens"] > context).sum())
    return Result(
        describe(settings) + begin,
        settings.to_record() | facts,
        n=items.num_rows,
        values=values and {name: value for name, value in values.items() if name not in lacking},
        reason=None if is_finite else NOT_FINITE,
        lacking=lacking,
        extra={"counts": {name: int(columns[name].sum()) for name in COUNTS}},
    )


def explain_missing(values: Estimates, letters_of: int, unspaced: int) -> dict[str, str]:
    """The figures that there are not, each with its reason, for a text of so many letters and unspaced letters."""
    reasons = {name: TOO_LARGE for name in VALUES if name not in values}
    if unspaced > UNSPACED * letters_of:
        reasons["perplexity_word"] = WITHOUT_SPACES.format(unspaced=unspaced, letters=letters_of)
    return reasons


class Scorer:
    """A causal model at work on documents (see `trainyard.evaluate.scorer.Scorer`)."""

    columns = ("text",)

    def __init__(self, model_folder: Path, rows: Path, settings: Mapping[str, Any]) -> None:
        self._settings = Settings.model_validate(settings)
        self._context, self._stride = resolve(self._settings, find_max_length(model_folder), model_folder)
        count = count_rows(rows)
        self.stop = min(count, self._settings.limit or count)
        self._model, self._tokenizer = load_causal(model_folder, self._settings)
        self._start = STARTS[self._settings.protocol](self._tokenizer)
        self._unknown = unknown_token(self._tokenizer)

    def score(self, block: Block, scored: Progress) -> list[dict[str, Any]]:
        """One row per document that has any text: its size and its log-likelihood after its first token, in nats."""
        texts = [(block.first + index, row["text"]) for index, row in enumerate(block.rows) if row["text"].strip()]
        if self._settings.protocol == "harness":
            encoded, count = (
                encode_as_harness(self._tokenizer, [detokenize(text) for _, text in texts]),
                count_as_harness,
            )
        else:
            encoded, count = encode(self._tokenizer, [text for _, text in texts]), count_words_and_bytes
        documents = [np.array(ids if self._start is None else [self._start, *ids], dtype=np.int64) for ids in encoded]
        sums = document_log_likelihoods(
            self._model,
            documents,
            self._context,
            self._stride,
            self._settings.batch_tokens,
            functools.partial(scored.update_by_piece, len(block.rows)),
        )
        return [
            {
                "row": row,
                "tokens": len(ids) - 1,
                **count(text),
                "letters": count_letters(text),
                "unspaced_letters": count_unspaced_letters(text),
                "unknown": int(np.count_nonzero(ids == self._unknown)),
                "log_likelihood": float(total),
            }
            for (row, text), ids, total in zip(texts, documents, sums, strict=True)
        ]


def document_log_likelihoods(
    model: Any,
    documents: Sequence[np.ndarray],
    context: int,
    stride: int,
    batch_tokens: int,
    done: Pieces | None = None,
) -> np.ndarray:
    """The log-likelihood of each document after its first token, in nats, shape `(documents,)`.

    Args:
        model: a causal model of transformers.
        documents: token ids of each, shape `(time,)`.
        context: tokens of a window, at most.
        stride: tokens between windows.
        batch_tokens: places of a batch.
        done: is given the number of windows, and returns what to call with the number of those just finished.
    """
    owners, cut = [], []
    for index, ids in enumerate(documents):
        for begin, end, count in rolling_windows(len(ids), context, stride):
            owners.append(index)
            cut.append(Query(ids[begin : end - count], (ids[end - count : end],)))
    finished = done(len(cut)) if done else lambda windows: None
    sums = log_likelihoods(model, cut, batch_tokens, finished)
    return np.bincount(np.array(owners, dtype=np.int64), sums, minlength=len(documents))


def describe_start(model_folder: Path, protocol: Protocol) -> tuple[int | None, str]:
    """The id of the token before a document, and the sentence of the protocol that tells of it."""
    tokenizer = load_tokenizer(model_folder)
    start = STARTS[protocol](tokenizer)
    if start is None:
        return None, WITHOUT_START
    return start, WITH_START.format(token=tokenizer.convert_ids_to_tokens(start), id=start)


def resolve(settings: Settings, limit: int | None, folder: Path) -> tuple[int, int]:
    """The context and the stride, in tokens.

    Raises:
        InputError: the context is longer than the model takes, or the stride leaves tokens unscored, or isn't the
            harness's in its protocol.
    """
    context = settings.context or limit
    if context is None:
        raise InputError(f"{folder}: the model has no longest sequence of its own; set context")
    if limit is not None and context > limit:
        raise InputError(f"context {context}: {folder} takes {limit} tokens at most")
    if settings.protocol == "harness":
        if settings.stride not in (None, context):
            raise InputError(f"stride {settings.stride}: by the protocol harness it is the context; leave it out")
        return context, context
    stride = settings.stride or max(1, context // 2)
    if stride > context:
        raise InputError(f"stride {stride}: no more than the context, {context}, or tokens would go unscored")
    return context, stride


def rolling_windows(length: int, context: int, stride: int) -> Iterator[tuple[int, int, int]]:
    """Cut a sequence of `length` tokens into `(begin, end, scored)`.

    Tokens `begin` to `end - 1` are read (all but the last as input: `context` at most)
    and the last `scored` of them are scored; token 0 never is.
    """
    done = 1
    while done < length:
        end = min(length, done + (stride if done > 1 else context))
        yield max(0, end - context - 1), end, end - done
        done = end


def count_words_and_bytes(text: str) -> dict[str, int]:
    """Words and bytes of a text."""
    return {"words": len(text.split()), "bytes": len(text.encode())}


def compute_scores(items: Mapping[str, np.ndarray]) -> Estimates:
    """Loss, perplexities and bits per byte by the module of `evaluate`, of columns of items, shapes `(documents,)`."""
    given = {name: items[name].tolist() for name in COUNTS}
    return unflatten_estimates(compute("perplexity", predictions=items["log_likelihood"].tolist(), **given), VALUES)


def estimate_scores(items: Mapping[str, np.ndarray]) -> Estimates:
    """Loss (nats per token), perplexities, and bits per byte, of columns of items, shapes `(documents,)`.

    A perplexity that a number can't hold is left out.
    """
    losses = -np.asarray(items["log_likelihood"], dtype=np.float64)
    token, word, byte = (estimate_ratio(losses, np.asarray(items[name], dtype=np.float64)) for name in COUNTS)
    exponentials = (token.exp(), word.exp(), byte.exp())
    named = zip(VALUES, (token, *exponentials, byte.scale(1 / math.log(2))), strict=True)
    return {name: estimate for name, estimate in named if math.isfinite(estimate.value)}
