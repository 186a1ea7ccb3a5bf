"""ROUGE-1, 2, L and Lsum of generated summaries, beside the lead-3 baseline."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import regex as re
from pydantic import Field
from rouge_score import tokenizers
from rouge_score.rouge_scorer import RougeScorer

from trainyard.config.protocols import SEPARATOR, RougeTokenizer, uses_stemmer
from trainyard.config.values import NonNegativeInt, PositiveInt
from trainyard.core.errors import InputError
from trainyard.core.statistics import Estimates, bootstrap_means, to_json
from trainyard.evaluate.batch_size import default_sources
from trainyard.evaluate.generation import Search, generate, reaches_limit
from trainyard.evaluate.generation_speed import TimedBatch
from trainyard.evaluate.model import Placement, find_max_length, has_encoder, load_any
from trainyard.evaluate.pair_encoding import make_pair_encoding
from trainyard.evaluate.result_files import Result, explain_absent
from trainyard.evaluate.rows import Block, count_rows
from trainyard.evaluate.scorer import compute
from trainyard.evaluate.words import count_letters, find_words
from trainyard.launch.progress import Progress

KINDS = ("rouge1", "rouge2", "rougeL", "rougeLsum")
LEAD = 3
SOURCE_LENGTH = 512
PROTOCOL = (
    "F-measures of rouge_score on {words}, {stemmer}, times 100, mean over rows; sentences are put on lines of their "
    "own for rougeLsum; 95 % interval by a bootstrap over rows. A row is not scored if its target loses more than half "
    "of its letters and digits to the tokenizer. Lengths of generation are tokens with the start token. "
    "lead3: the first three sentences of the source as the summary."
)
WORDS: dict[RougeTokenizer, str] = {
    "ascii": "words of a-z and 0-9",
    "unicode": "words of any script, single characters where it puts no space between words",
}
STEMMER = {True: "with Porter's stemmer", False: "without stemming"}
LEADS = tuple(f"lead3_{name}" for name in KINDS)
SCHEMA = pa.schema(
    {
        "row": pa.int64(),
        "id": pa.string(),
        "prediction": pa.string(),
        "target": pa.string(),
        **dict.fromkeys((*KINDS, *LEADS), pa.float64()),
        **dict.fromkeys(("letters", "kept_letters", "cut_tokens"), pa.int64()),
        **dict.fromkeys(("cut_prediction", "long_target"), pa.bool_()),
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
    batch: PositiveInt = Field(
        default_factory=lambda settings: default_sources(settings["device"]),
        description="sources that are generated from at once; by default by the device's memory",
    )
    tokenizer: RougeTokenizer = "ascii"
    stemmer: bool | None = Field(None, description="compare words without their endings; by default those of ascii")
    resamples: int = Field(1000, ge=2)
    seed: NonNegativeInt = Field(1, description="seed of the bootstrap")

    @property
    def stems(self) -> bool:
        """Whether words are compared without their endings, as published ROUGE of English mostly does."""
        return uses_stemmer(self.tokenizer, self.stemmer)


def describe(settings: Settings) -> str:
    """The protocol in words."""
    return PROTOCOL.format(words=WORDS[settings.tokenizer], stemmer=STEMMER[settings.stems])


def summarise(scored: Path, settings: Settings, model_folder: Path, rows: Path) -> Result:
    """Means over scored rows, and those of lead-3; no figure where no target can be scored."""
    items = pq.read_table(scored, columns=[name for name in SCHEMA.names if name not in ("id", "prediction", "target")])
    own, lead = (np.stack([items[name].to_numpy() for name in columns], axis=1) for columns in (KINDS, LEADS))
    counted = np.isfinite(own).all(axis=1)
    lost = items["cut_tokens"].to_numpy()
    facts = {
        "stemmer": settings.stems,
        "source_length": resolve(settings, model_folder),
        "separator": None if has_encoder(model_folder) else SEPARATOR,
        "cut_sources": int((lost > 0).sum()),
        "cut_source_tokens": int(lost.sum()),
        "cut_predictions": int(items["cut_prediction"].to_numpy().sum()),
        "long_targets": int(items["long_target"].to_numpy().sum()),
        "unscored_targets": int((~counted).sum()),
        "target_letters": int(items["letters"].to_numpy().sum()),
        "kept_letters": int(items["kept_letters"].to_numpy().sum()),
    }
    lacking: dict[str, str] = {}
    if not counted.any():
        lacking |= dict.fromkeys(KINDS, explain_unscored(settings.tokenizer, facts))
    values, lead3 = (
        {} if lacking else estimate_scores(each[counted], settings.resamples, settings.seed) for each in (own, lead)
    )
    return Result(
        describe(settings),
        settings.to_record() | facts,
        n=int(counted.sum()),
        values=values,
        lacking=lacking,
        extra={"baselines": {"lead3": to_json(lead3) | explain_absent(lacking)}},
    )


def explain_unscored(tokenizer: RougeTokenizer, facts: Mapping[str, Any]) -> str:
    """Why no target could be scored, and what to do about it."""
    if not facts["target_letters"]:
        return "no target has a letter or a digit"
    return (
        f"the tokenizer {tokenizer} keeps {facts['kept_letters']:,} of the {facts['target_letters']:,} letters and "
        "digits of the targets, and less than half of each; set `tokenizer: unicode` under `rouge`"
    )


class Scorer:
    """A model at work on summaries (see `trainyard.evaluate.scorer.Scorer`)."""

    columns = ("id", "source", "target")

    def __init__(self, model_folder: Path, rows: Path, settings: Mapping[str, Any]) -> None:
        self._settings = Settings.model_validate(settings)
        self._source_length = resolve(self._settings, model_folder)
        count = count_rows(rows)
        self.stop = min(count, self._settings.limit or count)
        self._model, self._tokenizer = load_any(model_folder, self._settings)
        self._encoding = make_pair_encoding(self._model, self._tokenizer)
        self._batches: list[TimedBatch] = []
        self._has_begun = False

    def take_times(self) -> list[TimedBatch]:
        """What each batch since the last call took."""
        taken, self._batches = self._batches, []
        return taken

    def score(self, block: Block, scored: Progress) -> list[dict[str, Any]]:
        """A row a pair: the summary, its scores, and those of the source's first sentences."""
        sources, targets = ([row[name] for row in block.rows] for name in ("source", "target"))
        at = self._settings
        predictions, lost, cut = self._summaries(sources, scored)
        own = score_rows(predictions, targets, at.stems, at.tokenizer)
        lead = score_rows([lead_sentences(source) for source in sources], targets, at.stems, at.tokenizer)
        long = [len(ids) > at.max_length for ids in self._encoding.encode_targets(targets)]
        return [
            {
                "row": block.first + index,
                "id": row["id"],
                "prediction": prediction,
                "target": row["target"],
                **dict(zip((*KINDS, *LEADS), (*own[index], *lead[index]), strict=True)),
                "letters": count_letters(row["target"]),
                "kept_letters": count_kept_letters(row["target"], at.tokenizer),
                "cut_tokens": lost[index],
                "cut_prediction": cut[index],
                "long_target": long[index],
            }
            for index, (row, prediction) in enumerate(zip(block.rows, predictions, strict=True))
        ]

    def _summaries(self, sources: Sequence[str], scored: Progress) -> tuple[list[str], list[int], list[bool]]:
        """A summary of each source, how many tokens the source lost, and whether the summary was cut."""
        at = self._settings
        search = Search(
            at.beams, at.min_length, at.max_length, at.no_repeat_ngram, at.length_penalty, at.early_stopping
        )
        full, read = self._encoding.encode_sources([at.prefix + source for source in sources], self._source_length)
        ends = self._encoding.ends

        def done(batch: TimedBatch) -> None:
            self._batches.append(replace(batch, is_first=not self._has_begun))
            self._has_begun = True
            scored.update(batch.rows)

        generated = generate(self._model, read, search, ends, at.batch, done)
        # the first token was given: a decoder's start, or a separator's end, which may be more than white space
        decoded = self._tokenizer.batch_decode([ids[1:] for ids in generated], skip_special_tokens=True)
        lost = [max(0, len(ids) - self._source_length) for ids in full]
        return [text.strip() for text in decoded], lost, [reaches_limit(ids, ends, at.max_length) for ids in generated]


def resolve(settings: Settings, folder: Path) -> int:
    """The longest source, in tokens, where all lengths fit the model of a folder.

    Raises:
        InputError: min_length exceeds max_length, or a length exceeds what the model takes.
    """
    if settings.min_length > settings.max_length:
        raise InputError(f"min_length {settings.min_length}: no more than max_length, {settings.max_length}")
    max_length = find_max_length(folder)
    if max_length is not None and not has_encoder(folder):
        max_length -= settings.max_length + len(SEPARATOR.encode())  # they share its positions
        if max_length < 1:
            raise InputError(f"max_length {settings.max_length}: leaves no room for a source in {folder}")
        return min(settings.source_length or SOURCE_LENGTH, max_length)
    for name in ("source_length", "max_length"):
        length = getattr(settings, name)
        if max_length is not None and length is not None and length > max_length:
            raise InputError(f"{name} {length}: {folder} takes {max_length} tokens at most")
    return settings.source_length or min(SOURCE_LENGTH, max_length or SOURCE_LENGTH)


def lead_sentences(source: str) -> str:
    """The first three sentences of a source, one per line."""
    return "\n".join(sentences(source)[:LEAD])


class UnicodeTokenizer(tokenizers.Tokenizer):
    """The words of any language, for rouge_score."""

    def tokenize(self, text: str) -> list[str]:
        """The words of a text."""
        return find_words(text)


def make_tokenizer(name: RougeTokenizer, stemmer: bool) -> tokenizers.Tokenizer:
    """The tokenizer that rouge_score splits texts with."""
    return UnicodeTokenizer() if name == "unicode" else tokenizers.DefaultTokenizer(stemmer)


def count_kept_letters(target: str, tokenizer: RougeTokenizer) -> int:
    """How many letters and digits of a target stand in the words that the tokenizer makes of it."""
    return sum(map(count_letters, make_tokenizer(tokenizer, stemmer=False).tokenize(target)))


def is_scorable(target: str, tokenizer: RougeTokenizer) -> bool:
    """Whether a target has a word, and keeps half of its letters and digits: else a score says nothing of it."""
    letters_left = count_kept_letters(target, tokenizer)
    return letters_left > 0 and count_letters(target) <= 2 * letters_left


def score_rows(
    predictions: Sequence[str], targets: Sequence[str], stemmer: bool, tokenizer: RougeTokenizer
) -> list[list[float | None]]:
    """The scores of each row as `score` has them, by the module of `evaluate`; none where it has none."""
    given = {"predictions": predictions, "references": targets, "stemmer": stemmer, "tokenizer": tokenizer}
    return [row or [None] * len(KINDS) for row in compute("rouge", **given, by_row=True)["by_row"]]


def score(
    predictions: Sequence[str], targets: Sequence[str], stemmer: bool, tokenizer: RougeTokenizer = "ascii"
) -> np.ndarray:
    """F-measures in percent of each row, shape `(rows, 4)`: rouge1, rouge2, rougeL, rougeLsum.

    Only rougeLsum sees where sentences end; without a line for each it equals rougeL. A row whose target
    isn't `is_scorable` has NaN.
    """
    scorer = RougeScorer(list(KINDS), tokenizer=make_tokenizer(tokenizer, stemmer))

    def of_row(prediction: str, target: str) -> list[float]:
        if not is_scorable(target, tokenizer):
            return [math.nan] * len(KINDS)
        scores = scorer.score("\n".join(sentences(target)), "\n".join(sentences(prediction)))
        return [100 * scores[name].fmeasure for name in KINDS]

    rows = [of_row(prediction, target) for prediction, target in zip(predictions, targets, strict=True)]
    return np.array(rows).reshape(-1, len(KINDS))


def estimate_scores(scores: np.ndarray, resamples: int, seed: int) -> Estimates:
    """Means over rows with bootstrap intervals, within 0 and 100."""
    clamped = (estimate.clamp(0, 100) for estimate in bootstrap_means(scores, resamples, seed))
    return dict(zip(KINDS, clamped, strict=True))


_OPENING = "\"'(\\[\u201c\u2018\u00ab"
_CLOSING = "\"')\\]\u201d\u2019\u00bb"
_CLOSING_WIDE = f"{_CLOSING}\u300d\u300f\u3009\u300b\u3011\uff09"
# they end nothing but sentences, white space or not: the full stops, question and exclamation marks of Chinese and
# Japanese, Arabic, Urdu, the languages of India, Ethiopic, Tibetan, Burmese and Khmer
_ALWAYS = "\u3002\uff01\uff1f\uff61\u061f\u06d4\u0964\u0965\u1362\u1367\u1368\u0f0d\u0f0e\u104a\u104b\u17d4\u17d5"
_END = re.compile(
    rf"(?P<marks>[.!?\u2026]+)[{_CLOSING}]*(?=\s)|(?P<always>[{_ALWAYS}][{_ALWAYS}!?\u2026]*)[{_CLOSING_WIDE}]*"
)
# a letter that is no small one: of scripts without capitals any letter
_CAPITAL_OR_DIGIT = re.compile(rf"\s+[{_OPENING}]*[\p{{Lu}}\p{{Lt}}\p{{Lo}}\p{{N}}]")
_TITLES = "Mr|Mrs|Ms|Dr|Prof|Sr|Jr|St|Lt|Col|Gen|Capt|Sgt|Rev|Hon|Gov|Sen|Rep"
_OTHERS = "No|vs|etc|Inc|Ltd|Co|Corp|Mt|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sep|Sept|Oct|Nov|Dec"
_ABBREVIATION = re.compile(rf"(?:^|[\s{_OPENING}])(?:{_TITLES}|{_OTHERS}|(?:\p{{L}}\.)*\p{{L}})\.$")


def sentences(text: str) -> list[str]:
    """Split a text into sentences, stripped of white space; none is empty.

    A line ends a sentence. So do `!`, `?` and an ellipsis before white space, and `.`
    where a capital letter (or one of a script without capitals) or a digit follows (quotes
    and brackets may stand between) and what it ends is neither a common abbreviation nor a
    single letter, as an initial is. The marks of other scripts, such as a Chinese full stop,
    end a sentence wherever they stand.
    """
    return [sentence for line in text.splitlines() for sentence in _of_line(line)]


def _of_line(line: str) -> list[str]:
    parts, begin = [], 0
    for match in _END.finditer(line):
        marks = match["marks"] or ""
        if set(marks) == {"."} and not _CAPITAL_OR_DIGIT.match(line, match.end()):
            continue
        if marks == "." and _ABBREVIATION.search(line[begin : match.end("marks")]):
            continue
        parts.append(line[begin : match.end()])
        begin = match.end()
    return [part.strip() for part in (*parts, line[begin:]) if part.strip()]
