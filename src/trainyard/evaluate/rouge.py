"""ROUGE-1, 2, L and Lsum of generated summaries, beside the lead-3 baseline."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field
from rouge_score.rouge_scorer import RougeScorer

from trainyard.config.catalogue import NonNegativeInt, PositiveInt
from trainyard.errors import InputError
from trainyard.evaluate.generate import generate, generation_config
from trainyard.evaluate.library import compute
from trainyard.evaluate.load import Placement, load_sequence_to_sequence, longest, reason_for_no_model
from trainyard.evaluate.rows import read_rows
from trainyard.evaluate.sentences import sentences
from trainyard.evaluate.write import Names, Result, write_result
from trainyard.intervals import Estimates, as_json, bootstrap_means, unflat

KINDS = ("rouge1", "rouge2", "rougeL", "rougeLsum")
LEAD = 3
SOURCE_LENGTH = 512
PROTOCOL = (
    "F-measures of rouge_score with Porter's stemmer, times 100, mean over rows; sentences are put on lines of their "
    "own for rougeLsum; 95 % interval by a bootstrap over rows. Lengths of generation are tokens with the start token. "
    "lead3: the first three sentences of the source as the summary."
)
SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "prediction": pa.string(),
        "target": pa.string(),
        **{name: pa.float64() for name in KINDS},
        **{f"lead3_{name}": pa.float64() for name in KINDS},
    }
)


class Settings(Placement):
    """The settings of generation and of scoring."""

    beams: PositiveInt = 4
    min_length: NonNegativeInt = 0
    max_length: PositiveInt = 62
    no_repeat_ngram: NonNegativeInt = 3
    length_penalty: float = 1.0
    early_stopping: bool = True
    prefix: str = Field("", description="text before each source")
    source_length: PositiveInt | None = Field(
        None, description="longest source, in tokens, more is cut; 512 or what the model takes unless told"
    )
    batch: PositiveInt = Field(16, description="sources that are generated from at once")
    resamples: PositiveInt = 1000
    seed: NonNegativeInt = Field(1, description="seed of the bootstrap")


def run(model_folder: Path, rows: Path, settings: Mapping[str, Any], output: Path, names: Names) -> None:
    """Generate a summary of each row of `rows` (kind pairs), score them and write the result.

    Raises:
        InputError: the model or the rows can't be used, or the lengths don't fit the model.
    """
    chosen = Settings.model_validate(settings)
    if reason := reason_for_no_model(model_folder):
        result = Result("rouge", PROTOCOL, chosen.model_dump(), SCHEMA, reason=reason)
        write_result(output, names, result, model_folder, rows)
        return
    pairs = read_rows(rows, ("id", "source", "target"), chosen.limit)
    model, tokenizer = load_sequence_to_sequence(model_folder, chosen)
    source_length = resolve(chosen, longest(model), model_folder)
    predictions, cut = summaries(
        model, tokenizer, [pair["source"] for pair in pairs], chosen, source_length, names.evaluation
    )
    targets = [pair["target"] for pair in pairs]
    values, scores = headline(predictions, targets, chosen)
    lead_values, lead = headline([lead_sentences(pair["source"]) for pair in pairs], targets, chosen)
    items = [
        {
            "id": pair["id"],
            "prediction": prediction,
            "target": pair["target"],
            **dict(zip(SCHEMA.names[3:], (*own, *baseline), strict=True)),
        }
        for pair, prediction, own, baseline in zip(pairs, predictions, scores, lead, strict=True)
    ]
    result = Result(
        metric="rouge",
        protocol=PROTOCOL,
        settings={**chosen.model_dump(), "source_length": source_length, "stemmer": True, "cut_sources": cut},
        schema=SCHEMA,
        n=len(pairs),
        values=values,
        items=items,
        extra={"baselines": {"lead3": as_json(lead_values)}},
    )
    write_result(output, names, result, model_folder, rows)


def resolve(settings: Settings, most: int | None, folder: Path) -> int:
    """The longest source, in tokens, where all lengths fit a model that takes `most`.

    Raises:
        InputError: min_length exceeds max_length, or a length exceeds what the model takes.
    """
    if settings.min_length > settings.max_length:
        raise InputError(f"min_length {settings.min_length}: no more than max_length, {settings.max_length}")
    for name in ("source_length", "max_length"):
        length = getattr(settings, name)
        if most is not None and length is not None and length > most:
            raise InputError(f"{name} {length}: {folder} takes {most} tokens at most")
    return settings.source_length or min(SOURCE_LENGTH, most or SOURCE_LENGTH)


def summaries(
    model: Any, tokenizer: Any, sources: Sequence[str], settings: Settings, source_length: int, title: str
) -> tuple[list[str], int]:
    """A summary of each source, and how many sources were cut to `source_length` tokens."""
    full = tokenizer([settings.prefix + source for source in sources], verbose=False)["input_ids"]
    short = tokenizer([settings.prefix + source for source in sources], truncation=True, max_length=source_length)[
        "input_ids"
    ]
    config = generation_config(
        model,
        settings.beams,
        settings.min_length,
        settings.max_length,
        settings.no_repeat_ngram,
        settings.length_penalty,
        settings.early_stopping,
    )
    generated = generate(model, short, config, settings.batch, title)
    texts = [text.strip() for text in tokenizer.batch_decode(generated, skip_special_tokens=True)]
    return texts, sum(len(ids) > source_length for ids in full)


def lead_sentences(source: str) -> str:
    """The first three sentences of a source, one a line."""
    return "\n".join(sentences(source)[:LEAD])


def headline(
    predictions: Sequence[str], targets: Sequence[str], settings: Settings
) -> tuple[Estimates, list[list[float]]]:
    """Scores by the module of `evaluate`, and those of each row as `score` has them."""
    found = compute(
        "rouge",
        predictions=predictions,
        references=targets,
        resamples=settings.resamples,
        seed=settings.seed,
        by_row=True,
    )
    return unflat(found, KINDS), found["by_row"]


def score(predictions: Sequence[str], targets: Sequence[str]) -> np.ndarray:
    """F-measures in percent of each row, shape `(rows, 4)`: rouge1, rouge2, rougeL, rougeLsum.

    Only rougeLsum sees where sentences end; without a line for each it equals rougeL.
    """
    scorer = RougeScorer(list(KINDS), use_stemmer=True)
    return np.array(
        [
            [100 * found[name].fmeasure for name in KINDS]
            for found in (
                scorer.score("\n".join(sentences(target)), "\n".join(sentences(prediction)))
                for prediction, target in zip(predictions, targets, strict=True)
            )
        ]
    )


def estimates(scores: np.ndarray, resamples: int, seed: int) -> Estimates:
    """Means over rows with bootstrap intervals."""
    return dict(zip(KINDS, bootstrap_means(scores, resamples, seed), strict=True))
