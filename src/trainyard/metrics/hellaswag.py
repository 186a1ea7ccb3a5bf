"""Accuracy on endings of which one is right (Zellers et al. 2019)."""

from trainyard.metrics.base import Metric, ScoreKind

HELLASWAG = Metric(
    key="hellaswag",
    reads="choices",
    needs_pairs=False,
    higher_is_better=True,
    scores=(
        ScoreKind("acc", "accuracy", "acc %", 1, percent=True, correct="correct"),
        ScoreKind("acc_norm", "normalised accuracy", "acc_norm %", 1, percent=True, correct="correct_norm"),
    ),
    headline="acc_norm",
    topic="Endings",
    told=("acc",),
    item="item",
    tokens_per_item=500,
    tested=("acc", "acc_norm"),
    comparable=("protocol", "limit", "shots"),
    item_columns=("correct", "correct_norm"),
    chance=0.25,
)
