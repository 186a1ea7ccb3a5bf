"""Documents that a causal model continues, beside how they go on in truth: to read, not to score."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import regex
from pydantic import Field

from trainyard.config.values import PositiveInt, Seed
from trainyard.core.errors import InputError
from trainyard.evaluate.encoding import encode, start_token
from trainyard.evaluate.generation import continue_prompts
from trainyard.evaluate.model import Placement, find_max_length, load_causal, load_tokenizer
from trainyard.evaluate.result_files import Result
from trainyard.evaluate.rows import Block, count_rows, stream_rows
from trainyard.evaluate.words import UNSPACED
from trainyard.launch.progress import Progress

LOOKED_AT = 1000  # rows among which prompts are sought by default
PROTOCOL = (
    "The first `prompt_words` words of a document are given (a character of a script that puts no space between words "
    "is one), after the start token if there is one, and the last of them alone where they don't fit beside "
    "`new_tokens` into the model. It goes on for `new_tokens` tokens or until it ends the text, by the start token or "
    "the end token. Temperature 0 takes the likeliest token each time; above, tokens are drawn from the whole "
    "vocabulary by `seed` and the document's row. The target is how the document goes on in truth, for as many tokens."
)
# a character with the marks and the punctuation behind it, or what stands between white space; never a part of it
WORD = rf"(?>[{UNSPACED}]\p{{M}}*[^\s{UNSPACED}\p{{L}}\p{{N}}]*|[^\s{UNSPACED}]+)"
SCHEMA = pa.schema(
    {
        "row": pa.int64(),
        "prompt": pa.string(),
        "prediction": pa.string(),
        "target": pa.string(),
        "prompt_tokens": pa.int64(),
        "new_tokens": pa.int64(),
        "cut_tokens": pa.int64(),
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
    lost = pq.read_table(scored, columns=["cut_tokens"])["cut_tokens"].to_numpy()
    facts = {
        "start_token": start_token(load_tokenizer(model_folder)),
        "cut_prompts": int((lost > 0).sum()),
        "cut_prompt_tokens": int(lost.sum()),
    }
    searched = min(count_rows(rows), settings.limit or LOOKED_AT)
    words = settings.prompt_words
    reason = f"none of the first {searched:,} rows continues after {words} words; make prompt_words smaller"
    return Result(describe(settings), settings.to_record() | facts, n=len(lost), reason=None if len(lost) else reason)


class Scorer:
    """A causal model that goes on with documents (see `trainyard.evaluate.scorer.Scorer`)."""

    columns = ("text",)

    def __init__(self, model_folder: Path, rows: Path, settings: Mapping[str, Any]) -> None:
        self._settings = Settings.model_validate(settings)
        texts = itertools.islice(stream_rows(rows, self.columns), self._settings.limit or LOOKED_AT)
        self._prompts = select_prompts([row["text"] for row in texts], self._settings)
        self.stop = self._prompts[-1][0] + 1 if self._prompts else 0
        self._model, self._tokenizer = load_causal(model_folder, self._settings)
        self._start = start_token(self._tokenizer)
        ids = self._encode([prompt for _, prompt, _ in self._prompts])
        room = max_prompt_length(self._settings, find_max_length(model_folder), model_folder)
        self._ids = [prompt[-room:] if room else prompt for prompt in ids]
        self._lost = [len(prompt) - len(kept) for prompt, kept in zip(ids, self._ids, strict=True)]

    def _encode(self, prompts: Sequence[str]) -> list[list[int]]:
        begin = [] if self._start is None else [self._start]
        return [begin + ids for ids in encode(self._tokenizer, prompts)]

    def score(self, block: Block, scored: Progress) -> list[dict[str, Any]]:
        """A row a prompt: what the model made of it, and how the document goes on."""
        rows = range(block.first, block.first + len(block.rows))
        prompts = zip(self._prompts, self._lost, self._ids, strict=True)
        chosen = [(*prompt, lost, ids) for prompt, lost, ids in prompts if prompt[0] in rows]
        at = self._settings
        tokens = continue_prompts(
            self._model,
            [ids for *_, ids in chosen],
            at.new_tokens,
            ends={self._start, self._tokenizer.eos_token_id} - {None},
            seeds=[1_000_003 * at.seed + row for row, *_ in chosen],
            temperature=at.temperature,
            batch=at.batch,
            done=scored.update_by_piece(len(rows), len(chosen)),
        )
        targets = encode(self._tokenizer, [rest for _, _, rest, *_ in chosen])
        return [
            {
                "row": row,
                "prompt": prompt,
                "prediction": self._tokenizer.decode(new, skip_special_tokens=True),
                "target": self._tokenizer.decode(target[: at.new_tokens], skip_special_tokens=True),
                "prompt_tokens": len(ids),
                "new_tokens": len(new),
                "cut_tokens": lost,
            }
            for (row, prompt, _, lost, ids), new, target in zip(chosen, tokens, targets, strict=True)
        ]


def select_prompts(texts: Sequence[str], settings: Settings) -> list[tuple[int, str, str]]:
    """Row, prompt and what follows it, of the first documents that are longer than a prompt; none if no document is.

    A prompt ends with a word and what follows begins with white space, so that tokens don't
    depend on where the document is cut; but where a script puts no space between words, it
    ends with a character.
    """
    prompt = regex.compile(rf"\s*{WORD}(?:\s*{WORD}){{{settings.prompt_words - 1}}}(?=\s*\S)")
    matches = ((row, text, prompt.match(text)) for row, text in enumerate(texts))
    split_texts = ((row, text[: match.end()], text[match.end() :]) for row, text, match in matches if match)
    return list(itertools.islice(split_texts, settings.prompts))


def max_prompt_length(settings: Settings, limit: int | None, folder: Path) -> int | None:
    """How many tokens of a prompt fit beside `new_tokens` into a model that takes `limit`; None where it takes any.

    Raises:
        InputError: none.
    """
    if limit is not None and settings.new_tokens >= limit:
        raise InputError(f"samples: new_tokens {settings.new_tokens}: {folder} takes {limit} tokens, prompt included")
    return None if limit is None else limit - settings.new_tokens
