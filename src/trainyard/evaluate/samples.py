"""Documents that a causal model continues, beside how they go on in truth: to read, not to score."""

import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from trainyard.config.catalogue import PositiveInt, Seed
from trainyard.errors import InputError
from trainyard.evaluate.blocks import Block
from trainyard.evaluate.continuations import continuations
from trainyard.evaluate.load import Placement, load_causal, load_tokenizer, longest
from trainyard.evaluate.progress import Progress
from trainyard.evaluate.rows import stream_rows
from trainyard.evaluate.tokens import encode, start_token
from trainyard.evaluate.write import Result

LOOKED_AT = 1000  # rows among which prompts are sought by default
PROTOCOL = (
    "The first `prompt_words` words of a document are given, after the start token if there is one, and the model goes "
    "on for `new_tokens` tokens or until it ends the text, by the start token or the end token. Temperature 0 takes "
    "the likeliest token each time; above, tokens are drawn from the whole vocabulary by `seed` and the document's "
    "row. The target is how the document goes on in truth, for as many tokens."
)
SCHEMA = pa.schema(
    {
        "row": pa.int64(),
        "prompt": pa.string(),
        "prediction": pa.string(),
        "target": pa.string(),
        "prompt_tokens": pa.int64(),
        "new_tokens": pa.int64(),
    }
)


class Settings(Placement):
    """The settings of prompts and of generation; prompts are sought among the first `limit` rows, 1,000 by default."""

    prompts: PositiveInt = 4
    prompt_words: PositiveInt = 16
    new_tokens: PositiveInt = 64
    temperature: float = Field(0.0, ge=0)
    seed: Seed = 1
    batch: PositiveInt = Field(16, description="prompts that are continued at once")


def describe(settings: Settings) -> str:
    """The protocol in words."""
    return PROTOCOL


def summarise(scored: Path, settings: Settings, model_folder: Path, rows: Path) -> Result:
    """No figures: how many prompts were continued, and after which token."""
    facts = {"start_token": start_token(load_tokenizer(model_folder))}
    return Result(describe(settings), settings.recorded() | facts, n=pq.read_metadata(scored).num_rows)


class Scorer:
    """A causal model that goes on with documents (see `trainyard.evaluate.metric.Scorer`)."""

    columns = ("text",)

    def __init__(self, model_folder: Path, rows: Path, settings: Mapping[str, Any]) -> None:
        self._settings = Settings.model_validate(settings)
        texts = itertools.islice(stream_rows(rows, self.columns), self._settings.limit or LOOKED_AT)
        self._prompts = prompts_of([row["text"] for row in texts], self._settings, rows)
        self.stop = self._prompts[-1][0] + 1
        self._model, self._tokenizer = load_causal(model_folder, self._settings)
        self._start = start_token(self._tokenizer)
        self._ids = self._encode([prompt for _, prompt, _ in self._prompts])
        check_lengths(self._ids, self._settings, longest(model_folder), model_folder)

    def _encode(self, prompts: Sequence[str]) -> list[list[int]]:
        begin = [] if self._start is None else [self._start]
        return [begin + ids for ids in encode(self._tokenizer, prompts)]

    def score(self, block: Block, scored: Progress) -> list[dict[str, Any]]:
        """A row a prompt: what the model made of it, and how the document goes on."""
        rows = range(block.first, block.first + len(block.rows))
        chosen = [(*prompt, ids) for prompt, ids in zip(self._prompts, self._ids, strict=True) if prompt[0] in rows]
        at = self._settings
        tokens = continuations(
            self._model,
            [ids for *_, ids in chosen],
            at.new_tokens,
            ends={self._start, self._tokenizer.eos_token_id} - {None},
            seeds=[1_000_003 * at.seed + row for row, *_ in chosen],
            temperature=at.temperature,
            batch=at.batch,
            done=scored.pieces(len(rows), len(chosen)),
        )
        targets = encode(self._tokenizer, [rest for _, _, rest, _ in chosen])
        return [
            {
                "row": row,
                "prompt": prompt,
                "prediction": self._tokenizer.decode(new, skip_special_tokens=True),
                "target": self._tokenizer.decode(target[: at.new_tokens], skip_special_tokens=True),
                "prompt_tokens": len(ids),
                "new_tokens": len(new),
            }
            for (row, prompt, _, ids), new, target in zip(chosen, tokens, targets, strict=True)
        ]


def prompts_of(texts: Sequence[str], settings: Settings, rows: Path) -> list[tuple[int, str, str]]:
    """Row, prompt and what follows it, of the first documents that are longer than a prompt.

    A prompt ends with a word and what follows begins with white space, so that tokens
    don't depend on where the document is cut.

    Raises:
        InputError: no document is longer than a prompt.
    """
    words = re.compile(rf"\s*\S+(?:\s+\S+){{{settings.prompt_words - 1}}}(?=\s+\S)")
    matches = ((row, text, words.match(text)) for row, text in enumerate(texts))
    found = [(row, text[: match.end()], text[match.end() :]) for row, text, match in matches if match]
    if not found:
        raise InputError(f"{rows}: none of the first {len(texts)} rows goes on after {settings.prompt_words} words")
    return found[: settings.prompts]


def check_lengths(prompts: Sequence[Sequence[int]], settings: Settings, most: int | None, folder: Path) -> None:
    """See that prompts and what is to follow fit a model that takes `most` tokens.

    Raises:
        InputError: they don't.
    """
    length = max(len(ids) for ids in prompts)
    if most is not None and length + settings.new_tokens > most:
        raise InputError(
            f"samples: a prompt of {length} tokens and new_tokens {settings.new_tokens} are more than the {most} that "
            f"{folder} takes; make prompt_words or new_tokens smaller"
        )
