"""A metric's descriptor says at once what doesn't fit in it, and not where a report is half done."""

from dataclasses import replace
from typing import Any

import pytest

from trainyard.metrics import METRICS
from trainyard.metrics.base import ScoreKind

PERPLEXITY = METRICS["perplexity"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"headline": "acc"}, "metric perplexity: headline: no score 'acc'; there are loss_token"),
        ({"told": ("perplexity_word", "perplexity")}, "told: no score 'perplexity'"),
        ({"instead": ("perplexity_word", "none")}, "instead: no score 'none'"),
        (
            {"item_columns": ("tokens", "words", "bytes")},
            "item_columns: log_likelihood is missing, for loss_token",
        ),
        ({"scores": (*PERPLEXITY.scores, ScoreKind("edits", "edits", "edits"))}, "item_columns: edits is missing"),
    ],
)
def test_a_fault_of_a_descriptor_names_its_field(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        replace(PERPLEXITY, **change)
