"""ROUGE-1, 2, L and Lsum of generated summaries, beside the lead-3 baseline."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field
from rouge_score.rouge_scorer import RougeScorer

from trainyard.config.catalogue import NonNegativeInt, PositiveInt
from trainyard.errors import InputError
from trainyard.evaluate.blocks import Block
from trainyard.evaluate.generate import generate, generation_config
from trainyard.evaluate.library import compute
from trainyard.evaluate.load import Placement, load_sequence_to_sequence, longest
from trainyard.evaluate.progress import Progress
from trainyard.evaluate.rows import count_rows
from trainyard.evaluate.sentences import sentences
from trainyard.evaluate.write import Result
from trainyard.intervals import Estimates, as_json, bootstrap_means

KINDS = ("rouge1", "rouge2", "rougeL", "rougeLsum")
LEAD = 3
SOURCE_LENGTH = 512
PROTOCOL = (
    "F-measures of rouge_score {stemmer}, times 100, mean over rows; sentences are put on lines of their "
    "own for rougeLsum; 95 % interval by a bootstrap over rows. Lengths of generation are tokens with the start token. "
    "lead3: the first three sentences of the source as the summary."
)
STEMMER = {True: "with Porter's stemmer", False: "without stemming"}
LEADS = tuple(f"lead3_{name}" for name in KINDS)
SCHEMA = pa.schema(
    {
        "row": pa.int64(),
        "id": pa.string(),
        "prediction": pa.string(),
        "target": pa.string(),
        **dict.fromkeys((*KINDS, *LEADS), pa.float64()),
        "cut": pa.bool_(),
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
        None, description="longest source, in tokens, more is cut; 512 or what the model takes by default"
    )
    batch: PositiveInt = Field(16, description="sources that are generated from at once")
    stemmer: bool = Field(True, description="compare words without their endings, as published ROUGE mostly does")
    resamples: PositiveInt = 1000
    seed: NonNegativeInt = Field(1, description="seed of the bootstrap")


def describe(settings: Settings) -> str:
    """The protocol in words."""
    return PROTOCOL.format(stemmer=STEMMER[settings.stemmer])


def summarise(scored: Path, settings: Settings, model_folder: Path, rows: Path) -> Result:
    """Means over scored rows, and those of lead-3."""
    items = pq.read_table(scored, columns=[*KINDS, *LEADS, "cut"])
    own, lead = (np.stack([items[name].to_numpy() for name in columns], axis=1) for columns in (KINDS, LEADS))
    source_length = resolve(settings, longest(model_folder), model_folder)
    return Result(
        describe(settings),
        settings.recorded() | {"source_length": source_length, "cut_sources": int(items["cut"].to_numpy().sum())},
        n=items.num_rows,
        values=estimates(own, settings.resamples, settings.seed),
        extra={"baselines": {"lead3": as_json(estimates(lead, settings.resamples, settings.seed))}},
    )


class Scorer:
    """A sequence-to-sequence model at work on summaries (see `trainyard.evaluate.metric.Scorer`)."""

    columns = ("id", "source", "target")

    def __init__(self, model_folder: Path, rows: Path, settings: Mapping[str, Any]) -> None:
        self._settings = Settings.model_validate(settings)
        self._source_length = resolve(self._settings, longest(model_folder), model_folder)
        count = count_rows(rows)
        self.stop = min(count, self._settings.limit or count)
        self._model, self._tokenizer = load_sequence_to_sequence(model_folder, self._settings)

    def score(self, block: Block, scored: Progress) -> list[dict[str, Any]]:
        """A row a pair: the summary, its scores, and those of the source's first sentences."""
        sources, targets = ([row[name] for row in block.rows] for name in ("source", "target"))
        predictions, cut = self._summaries(sources, scored)
        own = by_row(predictions, targets, self._settings.stemmer)
        lead = by_row([lead_sentences(source) for source in sources], targets, self._settings.stemmer)
        return [
            {
                "row": block.first + place,
                "id": row["id"],
                "prediction": prediction,
                "target": row["target"],
                **dict(zip((*KINDS, *LEADS), (*own[place], *lead[place]), strict=True)),
                "cut": cut[place],
            }
            for place, (row, prediction) in enumerate(zip(block.rows, predictions, strict=True))
        ]

    def _summaries(self, sources: Sequence[str], scored: Progress) -> tuple[list[str], list[bool]]:
        """A summary of each source, and whether the source was cut."""
        at = self._settings
        texts = [at.prefix + source for source in sources]
        full = self._tokenizer(texts, verbose=False)["input_ids"]
        short = self._tokenizer(texts, truncation=True, max_length=self._source_length)["input_ids"]
        config = generation_config(
            self._model,
            at.beams,
            at.min_length,
            at.max_length,
            at.no_repeat_ngram,
            at.length_penalty,
            at.early_stopping,
        )
        generated = generate(self._model, short, config, at.batch, scored.scored)
        decoded = self._tokenizer.batch_decode(generated, skip_special_tokens=True)
        return [text.strip() for text in decoded], [len(ids) > self._source_length for ids in full]


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


def lead_sentences(source: str) -> str:
    """The first three sentences of a source, one a line."""
    return "\n".join(sentences(source)[:LEAD])


def by_row(predictions: Sequence[str], targets: Sequence[str], stemmer: bool) -> list[list[float]]:
    """The scores of each row as `score` has them, by the module of `evaluate`."""
    return compute("rouge", predictions=predictions, references=targets, stemmer=stemmer, by_row=True)["by_row"]


def score(predictions: Sequence[str], targets: Sequence[str], stemmer: bool) -> np.ndarray:
    """F-measures in percent of each row, shape `(rows, 4)`: rouge1, rouge2, rougeL, rougeLsum.

    Only rougeLsum sees where sentences end; without a line for each it equals rougeL.
    """
    scorer = RougeScorer(list(KINDS), use_stemmer=stemmer)
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
