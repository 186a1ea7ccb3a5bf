"""ROUGE for the library `evaluate`, with nothing fetched: `evaluate.load(<this folder>)`."""

from typing import Any

import datasets
import numpy as np

import evaluate
from trainyard.config.protocols import uses_stemmer
from trainyard.core.statistics import flatten_estimates
from trainyard.evaluate.rouge import PROTOCOL, STEMMER, WORDS, estimate_scores, score


class Rouge(evaluate.Metric):
    """ROUGE-1, 2, L and Lsum in percent, with bootstrap intervals."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=PROTOCOL.format(words=WORDS["ascii"], stemmer=STEMMER[True]),
            citation="Lin, ROUGE: A Package for Automatic Evaluation of Summaries, 2004",
            inputs_description="predictions and references: a text each; resamples and seed: of the bootstrap; "
            "tokenizer: ascii (by default) or unicode; stemmer: Porter's (by default with ascii); by_row: the scores "
            "of each row in place of their means, none of a row whose reference the tokenizer leaves too little of",
            features=datasets.Features(
                {"predictions": datasets.Value("string"), "references": datasets.Value("string")}
            ),
        )

    def _compute(self, *, predictions: Any = None, references: Any = None, **kwargs: Any) -> dict[str, Any]:
        tokenizer = kwargs.get("tokenizer", "ascii")
        scores = score(predictions, references, uses_stemmer(tokenizer, kwargs.get("stemmer")), tokenizer)
        if kwargs.get("by_row"):
            return {"by_row": [None if np.isnan(row).any() else row.tolist() for row in scores]}
        scored = scores[~np.isnan(scores).any(axis=1)]
        return flatten_estimates(
            estimate_scores(scored, kwargs.get("resamples", 1000), kwargs.get("seed", 1)) if len(scored) else {}
        )
