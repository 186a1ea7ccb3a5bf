"""The metrics that models are compared by: a file each, and nothing about one of them elsewhere but its computation."""

from trainyard.metrics.base import Metric, ScoreKind
from trainyard.metrics.hellaswag import HELLASWAG
from trainyard.metrics.perplexity import PERPLEXITY
from trainyard.metrics.rouge import ROUGE

METRICS: dict[str, Metric] = {metric.key: metric for metric in (PERPLEXITY, HELLASWAG, ROUGE)}

SCORES: dict[str, ScoreKind] = {kind.key: kind for metric in METRICS.values() for kind in metric.scores}
"""Every score of every metric by its key."""


PUBLISHED_SCORES: dict[str, str] = {
    kind.key if kind.key.startswith(metric.key) else f"{metric.key}_{kind.key}": kind.key
    for metric in METRICS.values()
    for kind in metric.scores
}
"""Every score by its name in `published` of a study: with the metric's before it, if it doesn't begin with that."""


def is_higher_better(score: str) -> bool:
    """The direction of a score of any metric."""
    return next(metric.higher_is_better for metric in METRICS.values() for kind in metric.scores if kind.key == score)
