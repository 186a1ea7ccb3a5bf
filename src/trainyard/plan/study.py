"""Everything that one study asks for: what Snakemake's rules are made from."""

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from trainyard.config.study import BASE, Evaluate, Study
from trainyard.config.yaml_entries import parse, read_yaml, suggest
from trainyard.core.errors import InputError
from trainyard.metrics import METRICS
from trainyard.plan.capabilities import Machine
from trainyard.plan.checks import check_evaluate, check_evaluation, check_names
from trainyard.plan.evaluations import KEPT, KIND_OF_DATA, Evaluation, expand_evaluations, needs_pairs, suits
from trainyard.plan.measurements import Cell, expand_cells
from trainyard.plan.runs import RESULTS, Catalogues, Expansion, Run
from trainyard.plan.searches import Member, Search, expand_searches
from trainyard.report.results.sweeps import Sweep, find_sweeps


@dataclass(frozen=True)
class EvaluatedModel:
    """A folder that holds a model, and the evaluations that it gets."""

    run: str
    checkpoint: str
    model: str
    folder: str
    prefix: str
    source_length: int
    evaluations: tuple[Evaluation, ...]

    @property
    def step(self) -> int | None:
        """N of step-N; None of best, last and pretrained."""
        return int(self.checkpoint.removeprefix("step-")) if self.checkpoint.startswith("step-") else None

    def file(self, study: str, evaluation: Evaluation) -> str:
        """Where the result of one evaluation is."""
        return f"{RESULTS}/{study}/{self.run}/evaluate/{evaluation.name}@{self.checkpoint}.json"


def _step(evaluated: tuple[EvaluatedModel, Evaluation]) -> int:
    return evaluated[0].step or 0


@dataclass(frozen=True)
class StudyPlan:
    """One study with everything that it asks for."""

    name: str
    study: Study
    place: str
    catalogues: Catalogues
    runs: dict[str, Run]
    cells: dict[str, Cell]
    searches: dict[str, Search] = field(default_factory=dict)

    @functools.cached_property
    def members(self) -> dict[str, Member]:
        """The members of all generations of its searches, by name."""
        every = (generation for search in self.searches.values() for generation in search.members)
        return {member.name: member for generation in every for member in generation}

    @functools.cached_property
    def winners(self) -> dict[str, Search]:
        """The searches by the runs that they end in."""
        return {search.winner.name: search for search in self.searches.values()}

    @functools.cached_property
    def trainings(self) -> list[Run]:
        """Its runs without the probes."""
        return [run for run in self.runs.values() if run.kind == "run"]

    @functools.cached_property
    def probes(self) -> list[Run]:
        """Its probes without the references."""
        return [run for run in self.runs.values() if run.reference]

    @functools.cached_property
    def evaluated_models(self) -> list[EvaluatedModel]:
        """Every model that is evaluated: the checkpoints of its runs, and pretrained models as they are."""
        of_runs = [model for run in self.trainings if run.evaluate for model in self._run_models(run)]
        return of_runs + [self._pretrained_model(model) for model in self.study.pretrained]

    def _run_models(self, run: Run) -> list[EvaluatedModel]:
        at = run.specification
        folder = f"{RESULTS}/{self.name}/{run.name}/models"
        length, steps = at["train"]["source_length"], at["train"]["keep_steps"]
        whole = self._make_evaluated(run.name, "", at["model"]["name"], at["dataset"], folder, length)
        _check_checkpoints(run, whole.evaluations, self._key_of(run.evaluate))
        by_checkpoint: dict[str, list[Evaluation]] = {}
        for evaluation in whole.evaluations:
            for checkpoint in evaluation.select_checkpoints(steps):
                by_checkpoint.setdefault(checkpoint, []).append(evaluation)
        return [
            replace(whole, checkpoint=checkpoint, evaluations=tuple(found))
            for checkpoint, found in by_checkpoint.items()
        ]

    def _pretrained_model(self, model: str) -> EvaluatedModel:
        length = min(512, self.catalogues.models[model].shape.context)
        return self._make_evaluated(model, "pretrained", model, None, f"{RESULTS}/models/{model}", length)

    def _make_evaluated(
        self, run: str, checkpoint: str, model: str, own: str | None, folder: str, source_length: int
    ) -> EvaluatedModel:
        evaluate = self.study.evaluate if own is None else self.runs[run].evaluate
        entry, datasets = self.catalogues.models[model], self.catalogues.datasets
        every = expand_evaluations(evaluate, own, datasets, self._key_of(evaluate)) if evaluate else []
        suited = tuple(each for each in every if suits(each.metric, entry, self._is_trained_on_pairs(run, model)))
        for each in suited:
            check_evaluation(each, (model, entry), datasets, self._key_of(evaluate))
        if own is None and not suited:
            raise InputError(f"{self.place}: pretrained: no metric of the study's `evaluate` suits {model}")
        prefix = self.catalogues.prefix(self.catalogues.models[model].tokenizer)
        return EvaluatedModel(run, checkpoint, model, folder, prefix, source_length, suited)

    def _is_trained_on_pairs(self, run: str, model: str) -> bool:
        """Whether a run is; of a pretrained model as it is, whether the study trains it so in any run."""
        runs = [self.runs[run]] if run in self.runs else self.trainings
        return any(
            each.specification["task"] == "summarisation" and each.specification["model"]["name"] == model
            for each in runs
        )

    def _key_of(self, evaluate: Evaluate | None) -> str:
        """File and key of what is evaluated: a grid's own, or the study's."""
        lists = {"grids": self.study.grids, "tune": self.study.tune}
        keys = [(f"{key}.{number}.", each) for key, entries in lists.items() for number, each in enumerate(entries)]
        own = next((key for key, each in keys if evaluate is not None and each.evaluate is evaluate), "")
        return f"{self.place}: {own}evaluate"

    def check(self) -> None:
        """See that everything can be evaluated, and that names are names of files.

        Raises:
            InputError: something can't be.
        """
        for evaluate in self._requests:
            check_evaluate(evaluate, self._key_of(evaluate))
        files = [Path(model.file(self.name, each)).name for model, each in self.by_evaluation.values()]
        check_names([*self.runs, *self.members, *self.cells, *files], self.place)
        self._check_metrics()
        self._check_primary()
        self._check_expected()
        self._check_one_protocol()
        _ = self.contaminations

    @property
    def _requests(self) -> list[Evaluate]:
        """What is evaluated: the study's, and those that its grids and searches have of their own."""
        own = [each.evaluate for each in (*self.study.grids, *self.study.tune)]
        return [evaluate for evaluate in (self.study.evaluate, *own) if evaluate]

    def _check_primary(self) -> None:
        """See that the metric that answers the question is asked for."""
        asked = sorted({each.metric for _, each in self.by_evaluation.values()} & METRICS.keys())
        if self.study.primary is not None and self.study.primary not in asked:
            remedy = f"give one of {', '.join(asked)}, or leave it out" if asked else "leave it out"
            raise InputError(f"{self.place}: primary: {self.study.primary!r} is not evaluated; {remedy}")

    def _check_expected(self) -> None:
        """See that each recipe that something is expected of is weighed against `base`."""
        weighed = sorted({run.specification["recipe"] for run in self.trainings} - {BASE})
        for recipe in self.study.expect:
            if recipe not in weighed:
                remedy = f"its recipes beside {BASE} are {', '.join(weighed)}" if weighed else f"it has {BASE} alone"
                raise InputError(f"{self.place}: expect.{recipe}: no recipe of the study is called so: {remedy}")

    def _check_one_protocol(self) -> None:
        """See that scores of one name, which the report ranks, are scored alike."""
        first: dict[str, tuple[EvaluatedModel, Evaluation]] = {}
        for model, each in self.by_evaluation.values():
            if each.metric not in METRICS:
                continue
            before, other = first.setdefault(each.name, (model, each))
            differing = [key for key, value in each.protocol.items() if value != other.protocol[key]]
            if differing:
                raise InputError(
                    f"{self.place}: {each.metric} on {each.dataset} is asked for with {differing[0]} "
                    f"{other.protocol[differing[0]]!r} ({before.run}) and {each.protocol[differing[0]]!r} "
                    f"({model.run}), and the "
                    "report would rank the two in one column; ask for one, or put the grids into two studies"
                )

    def _check_metrics(self) -> None:
        """See that each metric that is asked for can be computed for a model."""
        for evaluate in self._requests:
            runs = [run for run in self.trainings if run.evaluate is evaluate]
            models = [(run.name, run.specification["model"]["name"]) for run in runs]
            models += [(name, name) for name in self.study.pretrained if evaluate is self.study.evaluate]
            for metric in KIND_OF_DATA:
                suited = [
                    name
                    for run, name in models
                    if suits(metric, self.catalogues.models[name], self._is_trained_on_pairs(run, name))
                ]
                if models and getattr(evaluate, metric) and not suited:
                    need = "a model that is trained on pairs" if needs_pairs(metric) else "a causal model"
                    raise InputError(f"{self._key_of(evaluate)}.{metric}: needs {need}, and there is none; remove it")

    @functools.cached_property
    def by_evaluation(self) -> dict[tuple[str, str, str], tuple[EvaluatedModel, Evaluation]]:
        """The single evaluations by run, evaluation and checkpoint."""
        return {
            (model.run, evaluation.name, model.checkpoint): (model, evaluation)
            for model in self.evaluated_models
            for evaluation in model.evaluations
        }

    @functools.cached_property
    def evaluation_files(self) -> list[str]:
        """The results of all evaluations that give a value."""
        return [model.file(self.name, each) for model, each in self.by_evaluation.values() if each.metric in METRICS]

    @functools.cached_property
    def compared_files(self) -> list[str]:
        """Of those the ones that models are compared by: of a run with steps besides best or last, not the steps."""
        of_model: dict[tuple[str, str], list[tuple[EvaluatedModel, Evaluation]]] = {}
        for model, each in self.by_evaluation.values():
            if each.metric in METRICS:
                of_model.setdefault((model.run, each.name), []).append((model, each))
        compared = set()
        for group in of_model.values():
            ends = [(model, each) for model, each in group if model.step is None]
            compared |= {model.file(self.name, each) for model, each in ends or [max(group, key=_step)]}
        return [file for file in self.evaluation_files if file in compared]

    @property
    def has_steps(self) -> bool:
        """Whether a run is evaluated at several steps, or at one beside its end."""
        return len(self.evaluation_files) > len(self.compared_files)

    @functools.cached_property
    def sweeps(self) -> list[Sweep]:
        """Runs that differ in the learning rate or the batch alone."""
        return find_sweeps([run.specification for run in self.trainings])

    @property
    def has_forecasts(self) -> bool:
        """Whether the loss of a run is forecast before it is trained."""
        return any(run.forecast_from for run in self.trainings)

    @property
    def has_shared_evaluations(self) -> bool:
        """Whether two models are compared by one evaluation."""
        names = [Path(file).name.partition("@")[0] for file in self.compared_files]
        return len(set(names)) < len(names)

    @property
    def weighs_recipes(self) -> bool:
        """Whether recipes were trained beside the recipe that others are weighed against."""
        recipes = {run.specification["recipe"] for run in self.trainings}
        return BASE in recipes and len(recipes) > 1

    @property
    def has_shared_validation(self) -> bool:
        """Whether two runs are validated on the same rows."""
        folders = [folder for run in self.trainings if (folder := run.specification["data"]["validation"])]
        return len(set(folders)) < len(folders)

    @functools.cached_property
    def text_files(self) -> dict[str, str]:
        """Results that hold texts to read, samples and summaries of compared models, each with the rows it is from."""
        return {
            file: f"{RESULTS}/data/{each.dataset}/rows/{each.split}.parquet"
            for model, each in self.by_evaluation.values()
            if (file := model.file(self.name, each))
            and (each.metric not in METRICS or (METRICS[each.metric].has_texts and file in self.compared_files))
        }

    @functools.cached_property
    def contaminations(self) -> dict[tuple[str, str, str], int]:
        """What is looked for where: the words of an n-gram by dataset trained on, dataset scored on and its split.

        Raises:
            InputError: nothing is trained here that could be looked through, or two sizes are asked for of the same.
        """
        sizes: dict[tuple[str, str, str], int] = {}
        for model, each in self.by_evaluation.values():
            run = self.runs.get(model.run)
            if each.metric not in METRICS or not (run and run.evaluate and run.evaluate.contamination):
                continue
            ngram = run.evaluate.contamination.ngram
            coordinates = (run.specification["dataset"], each.dataset, each.split)
            if sizes.setdefault(coordinates, ngram) != ngram:
                raise InputError(
                    f"{self.place}: evaluate.contamination.ngram: {ngram} and {sizes[coordinates]} for {each.dataset} "
                    f"{each.split} in {coordinates[0]}; give one"
                )
        if not sizes and any(evaluate.contamination for evaluate in self._requests):
            raise InputError(
                f"{self.place}: evaluate.contamination: no run is trained here and scored, so there is no text to look "
                "through; remove it"
            )
        return sizes

    @functools.cached_property
    def contamination_files(self) -> list[str]:
        """The results of looking."""
        return [
            f"{RESULTS}/{self.name}/contamination/{training}/{dataset}-{split}.json"
            for training, dataset, split in self.contaminations
        ]

    @functools.cached_property
    def duplicate_files(self) -> list[str]:
        """The files that say how many held-out rows its runs are trained on, of every split that they meet."""
        datasets = self.catalogues.datasets
        trained_on = {run.specification["dataset"] for run in self.trainings}
        met = {(name, name, split) for name in trained_on for split in datasets[name].splits if split != "train"}
        met |= {
            (run.specification["dataset"], each.dataset, each.split)
            for model, each in self.by_evaluation.values()
            if KIND_OF_DATA[each.metric] != "choices" and each.metric in METRICS and (run := self.runs.get(model.run))
        }
        return [f"{RESULTS}/data/{name}/rows/duplicates/{dataset}-{split}.json" for name, dataset, split in sorted(met)]

    @functools.cached_property
    def choice_datasets(self) -> list[str]:
        """Datasets of multiple-choice items, whose shortcuts are beside the models' scores."""
        return sorted(
            {each.dataset for _, each in self.by_evaluation.values() if KIND_OF_DATA[each.metric] == "choices"}
        )

    @functools.cached_property
    def token_sets(self) -> list[tuple[str, str]]:
        """The pairs of dataset and tokenizer that its runs and probes read."""
        return sorted(
            {(run.specification["dataset"], run.specification["model"]["tokenizer"]) for run in self.runs.values()}
        )


def plan_study(name: str, folder: Path, catalogues: Catalogues, machine: Machine) -> StudyPlan:
    """Read one study file and expand it."""
    path = folder / "studies" / f"{name}.yaml"
    if name in ("data", "models", "peaks"):
        raise InputError(f"{path}: results/{name} holds no study: give the file another name")
    study: Study = parse(Study, read_yaml(path), str(path))
    location = str(path)
    for model in study.pretrained:
        if model not in catalogues.models:
            raise InputError(f"{location}: pretrained: no model named {model!r}{suggest(model, catalogues.models)}")
        if catalogues.models[model].weights is None:
            raise InputError(f"{location}: pretrained: {model} has no pretrained weights in config/models.yaml")
    expansion = Expansion(name, study, location, catalogues, machine.device)
    searches = expand_searches(expansion)
    runs = expansion.runs() | {search.winner.name: search.winner for search in searches.values()}
    measured = expand_cells(name, study, catalogues, machine.device, location)
    plan = StudyPlan(name, study, location, catalogues, runs, measured, searches)
    plan.check()
    _check_held_out(plan)
    return plan


def _check_held_out(plan: StudyPlan) -> None:
    """Raise an InputError if a run is scored on rows that it is trained on, as far as slices tell."""
    datasets = plan.catalogues.datasets
    scored = {
        (run.specification["dataset"], each.metric, each.dataset, each.split)
        for model, each in plan.by_evaluation.values()
        if each.metric in METRICS and (run := plan.runs.get(model.run))
    }
    for trained_on, metric, dataset, split in sorted(scored):
        if shared := datasets[trained_on].shared_rows("train", datasets[dataset], split):
            raise InputError(
                f"{plan.place}: evaluate.{metric}: {dataset} {split} is not held out from a run that is trained on "
                f"{trained_on}: both hold rows of {shared}; choose another split or dataset"
            )


def _check_checkpoints(run: Run, evaluations: Sequence[Evaluation], location: str) -> None:
    best = ["best"] if run.specification["data"]["validation"] else []
    steps = run.specification["train"]["keep_steps"]
    known = [*best, "last", KEPT, *(f"step-{step}" for step in steps)]
    for evaluation in evaluations:
        own = getattr(run.evaluate, evaluation.metric).checkpoints
        here = f"{location}.{evaluation.metric + '.' if own else ''}checkpoints: {run.name}"
        for checkpoint in evaluation.checkpoints:
            if checkpoint == KEPT and not steps:
                raise InputError(f"{here} keeps no steps; name some in its train.keep_steps")
            if checkpoint not in known:
                raise InputError(f"{here} keeps no {checkpoint!r}{_remedy(checkpoint, known)}")


def _remedy(checkpoint: str, known: Sequence[str]) -> str:
    if step := re.fullmatch(r"step-(\d+)", checkpoint):
        return f"; add {step[1]} to its train.keep_steps"
    return suggest(checkpoint, known)
