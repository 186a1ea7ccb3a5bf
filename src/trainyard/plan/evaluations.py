"""From the `evaluate` settings of a study to single evaluations."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trainyard.config.catalogue import Dataset, Model
from trainyard.config.study import Evaluate
from trainyard.config.yaml_entries import choose
from trainyard.core.errors import InputError
from trainyard.estimate.families import load_family
from trainyard.metrics import METRICS

KIND_OF_DATA: dict[str, str] = {**{name: metric.reads for name, metric in METRICS.items()}, "samples": "text"}
KEPT = "kept"  # stands for every step whose model a run keeps


@dataclass(frozen=True)
class Evaluation:
    """One metric on one split by one protocol; a file for each model that it is run on.

    `samples` is none in earnest: texts to read, with no value.
    """

    name: str
    metric: str
    dataset: str
    split: str
    settings: dict[str, Any]
    checkpoints: tuple[str, ...] = ()
    threads: int = 1
    processes: int = 1

    @property
    def protocol(self) -> dict[str, Any]:
        """What has to be equal where two models are ranked by their scores, as far as a study says it.

        The first items are a sample of all: their number makes a score less certain, not another one.
        """
        return {"split": self.split, **{key: value for key, value in self.settings.items() if key != "limit"}}

    def select_checkpoints(self, steps: Sequence[int]) -> list[str]:
        """The models of a run that it is run on: best, last, step-N; `steps` are those that the run keeps."""
        step_names = [f"step-{step}" for step in steps]
        return list(
            dict.fromkeys(name for each in self.checkpoints for name in (step_names if each == KEPT else [each]))
        )


def expand_evaluations(
    evaluate: Evaluate, own: str | None, datasets: dict[str, Dataset], location: str
) -> list[Evaluation]:
    """Every single evaluation, in the order of the settings.

    Args:
        evaluate: the settings.
        own: the dataset that the model was trained on, for metrics that name none.
        datasets: the catalogue.
        location: file and key of the settings, for errors.

    Raises:
        InputError: a dataset that isn't there, holds something else, or lacks the split.
    """
    results = [
        replace(
            each,
            checkpoints=tuple(getattr(evaluate, each.metric).checkpoints or evaluate.checkpoints),
            threads=evaluate.threads,
            processes=evaluate.processes,
        )
        for each in _expand(evaluate, own)
    ]
    for evaluation in results:
        here = f"{location}.{evaluation.metric}"
        if not evaluation.dataset:
            raise InputError(f"{here}.datasets: name them; a model that is not trained here has no data of its own")
        dataset = choose(evaluation.dataset, datasets, "dataset", f"{here}.datasets")
        if dataset.kind != KIND_OF_DATA[evaluation.metric]:
            raise InputError(f"{here}.datasets: {evaluation.dataset} holds {dataset.kind}, not what the metric reads")
        choose(evaluation.split, dataset.splits, f"split of {evaluation.dataset}", f"{here}.split")
    return results


def _expand(evaluate: Evaluate, own: str | None) -> Iterator[Evaluation]:
    for metric in KIND_OF_DATA:
        settings = getattr(evaluate, metric)
        for dataset in (settings.datasets or [own or ""]) if settings else ():
            for end, values in settings.variants():
                yield Evaluation(f"{metric}-{dataset}-{end}", metric, dataset, settings.split, values)


def needs_pairs(metric: str) -> bool:
    """Whether a metric is of models that are trained on pairs."""
    return metric in METRICS and METRICS[metric].needs_pairs


def suits(metric: str, model: Model, on_pairs: bool) -> bool:
    """Whether a metric is asked of a model: ROUGE of those that are trained on pairs, others of those without encoder.

    Args:
        metric: which.
        model: the catalogue's entry.
        on_pairs: whether the study trains it on pairs.
    """
    has_encoder = load_family(model.family).is_encoder_decoder
    return on_pairs or has_encoder if needs_pairs(metric) else not has_encoder
