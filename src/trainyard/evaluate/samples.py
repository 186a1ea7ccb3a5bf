"""Documents that a causal model continues, beside how they go on in truth: to read, not to score."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import Field

from trainyard.config.catalogue import NonNegativeInt, PositiveInt
from trainyard.errors import InputError
from trainyard.evaluate.continuations import continuations
from trainyard.evaluate.load import Placement, load_causal, longest, reason_for_no_model
from trainyard.evaluate.rows import read_rows
from trainyard.evaluate.tokens import encode, start_token
from trainyard.evaluate.write import Names, Result, write_result

LOOKED_AT = 1000  # rows among which prompts are sought
PROTOCOL = (
    "The first `prompt_words` words of a document are given, after the start token if there is one, and the model goes "
    "on for `new_tokens` tokens or until it ends the text, by the start token or the end token. Temperature 0 takes "
    "the likeliest token each time; above, tokens are drawn from the whole vocabulary by `seed` and the document's "
    "place. The target is how the document goes on in truth, for as many tokens."
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
    """The settings of prompts and of generation; `limit` has no say."""

    prompts: PositiveInt = 4
    prompt_words: PositiveInt = 16
    new_tokens: PositiveInt = 64
    temperature: float = Field(0.0, ge=0)
    seed: NonNegativeInt = 1
    batch: PositiveInt = Field(16, description="prompts that are continued at once")


def run(
    model_folder: Path,
    rows: Path,
    settings: Mapping[str, Any],
    output: Path,
    names: Names,
    work: Path | None = None,
) -> None:
    """Continue the first documents of `rows` (column `text`) and write the texts as items; there are no values.

    Raises:
        InputError: the model or the rows can't be used, or the lengths don't fit the model.
    """
    _ = work  # as the other metrics are called; this one is done at once
    chosen = Settings.model_validate(settings)
    if reason := reason_for_no_model(model_folder):
        result = Result("samples", PROTOCOL, chosen.recorded(), SCHEMA, reason=reason)
        write_result(output, names, result, model_folder, rows)
        return
    found = prompts_of([row["text"] for row in read_rows(rows, ["text"], LOOKED_AT)], chosen, rows)
    model, tokenizer = load_causal(model_folder, chosen)
    start = start_token(tokenizer)
    begin = [] if start is None else [start]
    prompts = [begin + ids for ids in encode(tokenizer, [prompt for _, prompt, _ in found])]
    check_lengths(prompts, chosen, longest(model_folder), model_folder)
    tokens = continuations(
        model,
        prompts,
        chosen.new_tokens,
        ends={start, tokenizer.eos_token_id} - {None},
        temperature=chosen.temperature,
        seed=chosen.seed,
        batch=chosen.batch,
    )
    targets = [ids[: chosen.new_tokens] for ids in encode(tokenizer, [rest for _, _, rest in found])]
    items = [
        {
            "row": row,
            "prompt": prompt,
            "prediction": tokenizer.decode(new, skip_special_tokens=True),
            "target": tokenizer.decode(target, skip_special_tokens=True),
            "prompt_tokens": len(ids),
            "new_tokens": len(new),
        }
        for (row, prompt, _), ids, new, target in zip(found, prompts, tokens, targets, strict=True)
    ]
    given = {**chosen.recorded(), "start_token": start}
    write_result(
        output, names, Result("samples", PROTOCOL, given, SCHEMA, n=len(items), items=items), model_folder, rows
    )


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
