"""Perplexity for the library `evaluate`, with nothing fetched: `evaluate.load(<this folder>)`."""

from typing import Any

import datasets

import evaluate
from trainyard.evaluate.perplexity import PROTOCOL, estimates, sizes
from trainyard.intervals import flat


class Perplexity(evaluate.Metric):
    """Perplexity a token, word and byte, of documents whose log-likelihoods are known."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=PROTOCOL,
            citation="Jelinek et al., Perplexity: a measure of the difficulty of speech recognition tasks, 1977",
            inputs_description="predictions: the log-likelihood of each document, in nats; references: its text; "
            "tokens: how many of its tokens were scored",
            features=datasets.Features(
                {
                    "predictions": datasets.Value("float64"),
                    "references": datasets.Value("string"),
                    "tokens": datasets.Value("int64"),
                }
            ),
        )

    def _compute(self, *, predictions: Any = None, references: Any = None, **kwargs: Any) -> dict[str, float | None]:
        rows = zip(predictions, references, kwargs["tokens"], strict=True)
        return flat(
            estimates([{"log_likelihood": total, "tokens": count, **sizes(text)} for total, text, count in rows])
        )
