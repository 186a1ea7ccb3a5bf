"""Perplexity for the library `evaluate`, with nothing fetched: `evaluate.load(<this folder>)`."""

from typing import Any

import datasets
import numpy as np

import evaluate
from trainyard.core.statistics import flatten_estimates
from trainyard.evaluate.perplexity import COUNTS, PROTOCOLS, estimate_scores


class Perplexity(evaluate.Metric):
    """Perplexity per token, word and byte, of documents whose log-likelihoods are known."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=PROTOCOLS["rolling"],
            citation="Jelinek et al., Perplexity: a measure of the difficulty of speech recognition tasks, 1977",
            inputs_description="predictions: the log-likelihood of each document, in nats; tokens, words, bytes: how "
            "many of its tokens were scored, and its size",
            features=datasets.Features(
                {"predictions": datasets.Value("float64"), **{name: datasets.Value("int64") for name in COUNTS}}
            ),
        )

    def _compute(self, *, predictions: Any = None, references: Any = None, **kwargs: Any) -> dict[str, float | None]:
        columns = {"log_likelihood": predictions, **{name: kwargs[name] for name in COUNTS}}
        return flatten_estimates(estimate_scores({name: np.array(values) for name, values in columns.items()}))
