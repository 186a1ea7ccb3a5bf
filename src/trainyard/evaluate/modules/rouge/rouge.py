"""ROUGE for the library `evaluate`, with nothing fetched: `evaluate.load(<this folder>)`."""

from typing import Any

import datasets

import evaluate
from trainyard.evaluate.rouge import PROTOCOL, STEMMER, estimates, score
from trainyard.intervals import flat


class Rouge(evaluate.Metric):
    """ROUGE-1, 2, L and Lsum in percent, with bootstrap intervals."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=PROTOCOL.format(stemmer=STEMMER[True]),
            citation="Lin, ROUGE: A Package for Automatic Evaluation of Summaries, 2004",
            inputs_description="predictions and references: a text each; resamples and seed: of the bootstrap; "
            "stemmer: Porter's (true by default); by_row: the scores of each row in place of their means",
            features=datasets.Features(
                {"predictions": datasets.Value("string"), "references": datasets.Value("string")}
            ),
        )

    def _compute(self, *, predictions: Any = None, references: Any = None, **kwargs: Any) -> dict[str, Any]:
        scores = score(predictions, references, kwargs.get("stemmer", True))
        if kwargs.get("by_row"):
            return {"by_row": scores.tolist()}
        return flat(estimates(scores, kwargs.get("resamples", 1000), kwargs.get("seed", 1)))
