"""Accuracy on four-way endings for the library `evaluate`, with nothing fetched: `evaluate.load(<this folder>)`."""

from typing import Any

import datasets
import numpy as np

import evaluate
from trainyard.core.statistics import flatten_estimates
from trainyard.evaluate.hellaswag import estimate_scores, score
from trainyard.evaluate.hellaswag_items import Item


class Hellaswag(evaluate.Metric):
    """acc and acc_norm with binomial standard errors."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="acc by the summed log-likelihood of an ending, acc_norm by the sum over the ending's length.",
            citation="Zellers et al., HellaSwag: Can a Machine Really Finish Your Sentence?, 2019",
            inputs_description="predictions: a log-likelihood for each ending; references: the right ending's index; "
            "lengths: of each ending, in characters (harness) or tokens (completion)",
            features=datasets.Features(
                {
                    "predictions": datasets.List(datasets.Value("float64")),
                    "references": datasets.Value("int64"),
                    "lengths": datasets.List(datasets.Value("int64")),
                }
            ),
        )

    def _compute(self, *, predictions: Any = None, references: Any = None, **kwargs: Any) -> dict[str, float | None]:
        items = [Item(str(row), "", "", [], label) for row, label in enumerate(references)]
        scored = score(items, np.array(predictions), np.array(kwargs["lengths"]))
        right, right_norm = (np.array([item[name] for item in scored]) for name in ("correct", "correct_norm"))
        return flatten_estimates(estimate_scores(right, right_norm))
