"""ROUGE of summaries (Lin 2004), in points of 100."""

from trainyard.metrics.base import Metric, ScoreKind

_TITLES = {"rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeL": "ROUGE-L", "rougeLsum": "ROUGE-Lsum"}

ROUGE = Metric(
    key="rouge",
    reads="pairs",
    needs_pairs=True,
    higher_is_better=True,
    scores=tuple(ScoreKind(key, title, title, points=True) for key, title in _TITLES.items()),
    headline="rougeL",
    topic="Summaries",
    told=("rouge1", "rouge2", "rougeL"),
    item="row",
    tokens_per_item=20_000,
    tested=tuple(_TITLES),
    comparable=(
        "limit",
        "beams",
        "min_length",
        "max_length",
        "no_repeat_ngram",
        "length_penalty",
        "early_stopping",
        "tokenizer",
        "stemmer",
    ),
    item_columns=tuple(f"{of}{name}" for of in ("", "lead3_") for name in _TITLES),
    has_texts=True,
)
