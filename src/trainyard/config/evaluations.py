"""From the `evaluate` settings of a study to single evaluations."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from trainyard.config.catalogue import Dataset, Model
from trainyard.config.load import choose
from trainyard.config.study import Evaluate
from trainyard.errors import InputError

Metric = Literal["perplexity", "hellaswag", "rouge"]
KIND_OF_DATA: dict[Metric, str] = {"perplexity": "text", "hellaswag": "choices", "rouge": "pairs"}


@dataclass(frozen=True)
class Evaluation:
    """One metric on one split by one protocol; a file for each model that it is run on."""

    name: str
    metric: Metric
    dataset: str
    split: str
    settings: dict[str, Any]


def evaluations(evaluate: Evaluate, own: str | None, datasets: dict[str, Dataset], place: str) -> list[Evaluation]:
    """Every single evaluation, in the order of the settings.

    Args:
        evaluate: the settings.
        own: the dataset that the model was trained on, for metrics that name none.
        datasets: the catalogue.
        place: file and key of the settings, for errors.

    Raises:
        InputError: a dataset that isn't there, holds something else, or lacks the split.
    """
    found = list(_expand(evaluate, own))
    for evaluation in found:
        here = f"{place}.{evaluation.metric}"
        if not evaluation.dataset:
            raise InputError(f"{here}.datasets: name them; a model that is not trained here has no data of its own")
        dataset = choose(evaluation.dataset, datasets, "dataset", f"{here}.datasets")
        if dataset.kind != KIND_OF_DATA[evaluation.metric]:
            raise InputError(f"{here}.datasets: {evaluation.dataset} holds {dataset.kind}, not what the metric reads")
        choose(evaluation.split, dataset.splits, f"split of {evaluation.dataset}", f"{here}.split")
    return found


def _expand(evaluate: Evaluate, own: str | None) -> Iterator[Evaluation]:
    if perplexity := evaluate.perplexity:
        settings = perplexity.model_dump(exclude={"datasets", "split"})
        for dataset in perplexity.datasets or [own or ""]:
            name = f"perplexity-{dataset}-{perplexity.split}"
            yield Evaluation(name, "perplexity", dataset, perplexity.split, settings)
    if hellaswag := evaluate.hellaswag:
        for dataset in hellaswag.datasets:
            for protocol in hellaswag.protocols:
                for shots in hellaswag.shots:
                    name = f"hellaswag-{dataset}-{protocol}-{shots}shot"
                    settings = {"protocol": protocol, "shots": shots, "limit": hellaswag.limit}
                    yield Evaluation(name, "hellaswag", dataset, hellaswag.split, settings)
    if rouge := evaluate.rouge:
        settings = rouge.model_dump(exclude={"datasets", "split"})
        for dataset in rouge.datasets or [own or ""]:
            yield Evaluation(f"rouge-{dataset}-{rouge.split}", "rouge", dataset, rouge.split, settings)


def fits(evaluation: Evaluation, model: Model) -> bool:
    """Whether the metric can be had of the model: ROUGE of sequence-to-sequence models, the others of causal ones."""
    return (evaluation.metric == "rouge") == model.sequence_to_sequence
