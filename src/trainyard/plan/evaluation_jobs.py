"""What the rules of evaluations ask for, by wildcards: scores, shortcuts, and training text that they share."""

from typing import Any

from trainyard.plan.code_hash import code_hash, find_source
from trainyard.plan.configuration import Plan
from trainyard.plan.evaluations import Evaluation, needs_pairs
from trainyard.plan.resources import evaluation_minutes
from trainyard.plan.runs import RESULTS
from trainyard.plan.study import EvaluatedModel

Wildcards = Any


class EvaluationJobs:
    """What rules/evaluate.smk asks of the plan."""

    def __init__(self, plan: Plan) -> None:
        self._studies, self._catalogues, self._machine = plan.studies, plan.catalogues, plan.machine

    def _find(self, wildcards: Wildcards) -> tuple[EvaluatedModel, Evaluation]:
        return self._studies[wildcards.study].by_evaluation[wildcards.run, wildcards.evaluation, wildcards.checkpoint]

    def model(self, wildcards: Wildcards) -> str:
        """The folder that holds the evaluated model."""
        return self._find(wildcards)[0].folder

    def rows(self, wildcards: Wildcards) -> str:
        """The rows that it is evaluated on."""
        evaluation = self._find(wildcards)[1]
        return f"{RESULTS}/data/{evaluation.dataset}/rows/{evaluation.split}.parquet"

    def shots_rows(self, wildcards: Wildcards) -> str | list[str]:
        """The rows that shots are drawn from, where the dataset has a split for them."""
        evaluation = self._find(wildcards)[1]
        has_train = "train" in self._catalogues.datasets[evaluation.dataset].splits
        draws = evaluation.settings.get("shots") and has_train and evaluation.split != "train"
        return f"{RESULTS}/data/{evaluation.dataset}/rows/train.parquet" if draws else []

    def specification(self, wildcards: Wildcards) -> dict[str, Any]:
        """Everything that an evaluation depends on besides model and rows."""
        model, evaluation = self._find(wildcards)
        settings = {**evaluation.settings, "device": self._machine.device, "threads": evaluation.threads}
        if needs_pairs(evaluation.metric):
            settings |= {"prefix": model.prefix, "source_length": model.source_length}
        return {
            "metric": evaluation.metric,
            "dataset": evaluation.dataset,
            "split": evaluation.split,
            "settings": settings,
        }

    def code(self, wildcards: Wildcards) -> str:
        """The code of one metric, with that of its module for the library `evaluate` if it has one."""
        metric = self._find(wildcards)[1].metric
        library_module = f"trainyard.evaluate.modules.{metric}.{metric}"
        scores = [library_module] if find_source(library_module) else []
        return code_hash("trainyard.evaluate.run", f"trainyard.evaluate.{metric}", *scores)

    def processes(self, wildcards: Wildcards) -> int:
        """How many processes share it."""
        return self._find(wildcards)[1].processes

    def threads(self, wildcards: Wildcards) -> int:
        """Cores that it needs; the script makes of them as many processes as they are for."""
        evaluation = self._find(wildcards)[1]
        return evaluation.threads * evaluation.processes

    def gres(self, wildcards: Wildcards) -> str:
        """GPUs to ask a cluster for, one per process."""
        return f"gpu:{self.processes(wildcards)}"

    def memory(self, wildcards: Wildcards) -> int:
        """Megabytes to ask for."""
        one = 4_000 + 12 * self._catalogues.parameters(self._find(wildcards)[0].model) // 1_000_000
        return one * self.processes(wildcards)

    def minutes(self, wildcards: Wildcards) -> int:
        """Minutes to ask for."""
        model, evaluation = self._find(wildcards)
        at = self.specification(wildcards)
        cores = evaluation.processes * (evaluation.threads if at["settings"]["device"] == "cpu" else 1)
        return evaluation_minutes(at["metric"], at["settings"], self._catalogues.parameters(model.model), cores)

    def _choice_evaluations(self, wildcards: Wildcards) -> list[tuple[EvaluatedModel, Evaluation]]:
        """Who is evaluated on a dataset of multiple-choice items, and how, in the study's order."""
        every = self._studies[wildcards.study].by_evaluation.values()
        return [(model, each) for model, each in every if each.dataset == wildcards.dataset]

    def shortcut_items(self, wildcards: Wildcards) -> dict[str, Any]:
        """The items that shortcuts are scored on, as the models are: their split, and the largest limit (None: all)."""
        evaluations = [each for _, each in self._choice_evaluations(wildcards)]
        split = evaluations[0].split
        limits = [each.settings["limit"] for each in evaluations if each.split == split]
        return {"split": split, "limit": None if None in limits else max(limits)}

    def choice_rows(self, wildcards: Wildcards) -> str:
        """The rows that hold those items."""
        return f"{RESULTS}/data/{wildcards.dataset}/rows/{self.shortcut_items(wildcards)['split']}.parquet"

    def training_text(self, wildcards: Wildcards) -> str | list[str]:
        """The text that the first model scored on those items was trained on from scratch, if one was."""
        runs = self._studies[wildcards.study].runs
        trained = [
            runs[model.run].specification for model, _ in self._choice_evaluations(wildcards) if model.run in runs
        ]
        texts = [at["dataset"] for at in trained if at["train"]["initial"] == "scratch"]
        return f"{RESULTS}/data/{texts[0]}/rows/train.parquet" if texts else []

    def ngram(self, wildcards: Wildcards) -> int:
        """The words of an n-gram that is looked for in a training text."""
        coordinates = (wildcards.training, wildcards.dataset, wildcards.split)
        return self._studies[wildcards.study].contaminations[coordinates]

    def contamination_threads(self, wildcards: Wildcards) -> int:
        """Threads to look through a training text with: one where that is a matter of seconds."""
        return 8 if (self._catalogues.datasets[wildcards.training].tokens or 0) > 100_000_000 else 1

    def contamination_minutes(self, wildcards: Wildcards) -> int:
        """Minutes to ask for, by the size of the training text, at half a million tokens per second."""
        return 15 + (self._catalogues.datasets[wildcards.training].tokens or 0) // 30_000_000
