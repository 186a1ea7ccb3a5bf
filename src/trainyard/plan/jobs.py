"""What the rules ask of the plan: inputs and parameters of each job, by its wildcards.

Kept out of the rule files so that it is typed and tested; it knows nothing of Snakemake
but that wildcards have names.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from trainyard.config.catalogue import FilesSource
from trainyard.config.slices import split_names
from trainyard.config.yaml_entries import choose
from trainyard.core.failure_counts import count_failures
from trainyard.core.python_environment import find_framework, read_pins
from trainyard.estimate.families import family_module
from trainyard.parallel import engine_module
from trainyard.plan.capabilities import explain_unsupported
from trainyard.plan.code_hash import code_hash
from trainyard.plan.configuration import Plan
from trainyard.plan.evaluation_jobs import EvaluationJobs
from trainyard.plan.plain_files import check_plain_file
from trainyard.plan.report import FIGURES, TABLES, Product
from trainyard.plan.resources import megabytes, minutes
from trainyard.plan.runs import RESULTS, Execution, count_planned_tokens
from trainyard.plan.search_jobs import SearchJobs
from trainyard.plan.searches import Member
from trainyard.plan.study import StudyPlan

Wildcards = Any


class Dag:
    """The plan, seen from a job.

    Attributes:
        plan: everything that the configuration asks for.
        environments: the folder of the conda environments.
        conda: whether jobs run in those, so that this interpreter's packages say nothing.
        cluster: whether jobs run on the nodes of a cluster, and not on this machine.
        predicted: the bytes that a process of a specification is to need in host memory, where that can be told.
    """

    def __init__(
        self,
        plan: Plan,
        environments: Path,
        conda: bool,
        cluster: bool = False,
        predicted: Callable[[dict[str, Any]], int | None] = lambda _: None,
    ) -> None:
        self.plan = plan
        self.evaluations = EvaluationJobs(plan)
        self.searches = SearchJobs(plan.studies)
        self.catalogues = plan.catalogues
        self.environments = environments
        self.conda = conda
        self.cluster = cluster
        self.predicted = predicted

    def environment(self, stage: str) -> str:
        """The file of a conda environment."""
        return str(self.environments / f"{stage}.yaml")

    def _study(self, wildcards: Wildcards) -> StudyPlan:
        return self.plan.studies[wildcards.study]

    # data

    def download_code(self, wildcards: Wildcards) -> str:
        """The code of a download; that of an embedded world concerns its own rows alone."""
        embedded = getattr(self.catalogues.datasets[wildcards.dataset].source, "embedded", None)
        return code_hash("trainyard.data.download", *([f"trainyard.data.{embedded}"] if embedded else []))

    def data_minutes(self, wildcards: Wildcards) -> int:
        """Minutes to ask for, by the dataset's size."""
        return 15 + (self.catalogues.datasets[wildcards.dataset].tokens or 1_000_000) // 20_000_000

    def plain_files(self, wildcards: Wildcards) -> list[str]:
        """The files that a split is read from, where its dataset's source is plain files.

        Raises:
            InputError: one isn't there, or can't be an input.
        """
        dataset = choose(wildcards.dataset, self.catalogues.datasets, "dataset", "config/datasets.yaml")
        specification = choose(
            wildcards.split, dataset.splits, "split", f"config/datasets.yaml: {wildcards.dataset}.splits"
        )
        if not isinstance(dataset.source, FilesSource):
            return []
        names = split_names(specification)
        files = {name: path for name, path in dataset.source.files.items() if name in names}
        for name, path in files.items():
            check_plain_file(path, f"config/datasets.yaml: {wildcards.dataset}.source.files.{name}")
        return list(files.values())

    def tokenizer_rows(self, wildcards: Wildcards) -> str | list[str]:
        """The rows that a BPE is trained on; other tokenizers need none."""
        kind = self.catalogues.tokenizers[wildcards.tokenizer].kind
        return f"{RESULTS}/data/{wildcards.dataset}/rows/train.parquet" if kind == "bpe" else []

    def tokenizer_model(self, wildcards: Wildcards) -> str | list[str]:
        """The model that carries the tokenizer, if one does."""
        model = getattr(self.catalogues.tokenizers[wildcards.tokenizer], "model", None)
        return f"{RESULTS}/models/{model}" if model else []

    def token_folders(self, wildcards: Wildcards) -> list[str]:
        """The tokens of every split of a dataset."""
        folder = f"{RESULTS}/data/{wildcards.dataset}/{wildcards.tokenizer}"
        return [f"{folder}/{split}" for split in self.catalogues.datasets[wildcards.dataset].splits]

    def fetch_code(self, wildcards: Wildcards) -> str:
        """The code that fetches a model."""
        family = self.catalogues.models[wildcards.model].family
        return code_hash("trainyard.models.pretrained", f"trainyard.models.{family}", family_module(family))

    # runs, probes and cells

    def execution(self, wildcards: Wildcards) -> Execution:
        """The run, probe, member of a search or cell that the wildcards name."""
        study = self._study(wildcards)
        if not hasattr(wildcards, "run"):
            return study.cells[wildcards.cell]
        return study.members.get(wildcards.run) or study.runs[wildcards.run]

    def specification(self, wildcards: Wildcards) -> dict[str, Any]:
        """Everything that it depends on."""
        if hasattr(wildcards, "launch"):
            return self._study(wildcards).cells[wildcards.cell].launch_specification(int(wildcards.launch))
        return self.execution(wildcards).specification

    def data_folders(self, wildcards: Wildcards) -> list[str]:
        """Tokens, tokenizer and weights that a run reads."""
        return [folder for folder in self.specification(wildcards)["data"].values() if folder]

    def reference(self, wildcards: Wildcards) -> str:
        """The folder of a probe's reference in fp32."""
        return f"{RESULTS}/{wildcards.study}/{self._study(wildcards).runs[wildcards.run].reference}"

    def forecast(self, wildcards: Wildcards) -> list[str]:
        """The forecast of a run that is trained when its loss is forecast; of others none."""
        run = self._study(wildcards).runs[wildcards.run]
        return [f"{run.folder}/forecast.json"] if run.forecast_from else []

    def forecast_from(self, wildcards: Wildcards) -> list[str]:
        """The summaries of the runs that a loss is forecast from."""
        runs = self._study(wildcards).runs
        return [f"{runs[name].folder}/summary.json" for name in runs[wildcards.run].forecast_from]

    def forecast_target(self, wildcards: Wildcards) -> dict[str, Any]:
        """What a loss is forecast of."""
        run = self._study(wildcards).runs[wildcards.run]
        target = {"run": run.name, "model": run.specification["model"], "tokens": count_planned_tokens(run)}
        return EscapedParams(target)

    def forecast_code(self, wildcards: Wildcards) -> str:
        """The code of a forecast."""
        return code_hash(
            "trainyard.report.statistics.forecast", family_module(self.specification(wildcards)["model"]["family"])
        )

    def same_precision(self, wildcards: Wildcards, file: str) -> str | list[str]:
        """A file of the reference in the precision of a probe in bf16 or fp16; nothing for one in fp32."""
        name = self._study(wildcards).runs[wildcards.run].same_precision
        return f"{RESULTS}/{wildcards.study}/{name}/{file}" if name else []

    def train_code(self, wildcards: Wildcards) -> str:
        """The code of a run."""
        return training_code(self.specification(wildcards))

    def measure_code(self, wildcards: Wildcards) -> str:
        """The code of a measurement."""
        return _code(self.specification(wildcards), "trainyard.measure.throughput")

    def framework_environment(self, wildcards: Wildcards) -> str:
        """Frameworks have an environment of their own; torch's own engines share one."""
        return self._environment_of(self.execution(wildcards))

    def _environment_of(self, execution: Execution) -> str:
        return self.environment(find_framework(execution.specification["parallel"]["packages"]) or "train")

    def capabilities(self, wildcards: Wildcards) -> dict[str, Any]:
        """The facts of the machine that its parallel setting needs."""
        return self._capabilities(self.execution(wildcards))

    def _capabilities(self, execution: Execution) -> dict[str, Any]:
        pinned = read_pins(Path(self._environment_of(execution))) if self.conda else None
        return self.plan.machine.capabilities(
            self.catalogues.parallel[execution.entry], execution.compiled, pinned, execution.adapted
        )

    def failures(self, wildcards: Wildcards) -> int:
        """How often its framework has crashed; one more than at the last call, and it is tried again."""
        study = self._study(wildcards)
        if hasattr(wildcards, "run"):
            return count_failures(Path(RESULTS, study.name, wildcards.run, "summary.json"))
        return count_failures(Path(study.cells[wildcards.cell].launch_file(int(wildcards.launch))))

    def turn(self, wildcards: Wildcards) -> float:
        """The priority of a launch: all first launches come before all second ones, each time in another order.

        What changes with time on a machine then falls on all cells alike. The order is drawn by a hash of the names.
        """
        name = f"{wildcards.study}/{wildcards.cell}/{wildcards.launch}"
        draw = int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) / 16**8
        return 1 / (int(wildcards.launch) + draw)

    def launches(self, wildcards: Wildcards) -> list[str]:
        """The files of a cell's launches; what can't be done here says so once."""
        files = self._study(wildcards).cells[wildcards.cell].launch_files
        return files if self.unsupported(wildcards) is None else files[:1]

    def peak(self, wildcards: Wildcards) -> str | list[str]:
        """The file of the peak that a cell's MFU is a share of; what can't be done here has none."""
        return self._peak(self.execution(wildcards)) or []

    def _peak(self, execution: Execution) -> str | None:
        at = execution.specification
        if self.why_unsupported(execution) is not None:
            return None
        return f"{RESULTS}/peaks/{at['device']}_{at['precision']}_threads{at['threads']}.json"

    def unsupported(self, wildcards: Wildcards) -> str | None:
        """Why it can't be done here, or None."""
        return self.why_unsupported(self.execution(wildcards))

    def why_unsupported(self, execution: Execution) -> str | None:
        """As `unsupported`, of a run, a probe or a cell."""
        at = execution.specification
        setting, family = self.catalogues.parallel[execution.entry], at["model"]["family"]
        capabilities = self._capabilities(execution)
        return explain_unsupported(
            setting, family, at["precision"], at["processes"], capabilities, at["train"], self.cluster
        )

    def runnable(self) -> list[Execution]:
        """Every run, probe and cell that can be done here."""
        return [job for job in self._executions() if self.why_unsupported(job) is None]

    def _executions(self) -> Iterator[Execution]:
        for study in self.plan.studies.values():
            yield from (*study.runs.values(), *study.cells.values())

    def warnings(self) -> list[str]:
        """A line for each parallel setting that can't do here what a study asks of it, and why."""
        counts = Counter(
            (job.study, job.entry, reason) for job in self._executions() if (reason := self.why_unsupported(job))
        )
        return [
            f"{study}: {setting}: {reason}; {count} row{'s' if count > 1 else ''} will say 'unsupported'"
            for (study, setting, reason), count in counts.items()
        ]

    @property
    def over_nodes(self) -> bool:
        """Whether a job may take several nodes of a cluster."""
        return self.cluster and self.plan.config.processes_per_node is not None

    def nodes(self, wildcards: Wildcards) -> int | None:
        """Nodes of a cluster to ask for, and tasks that start the processes there; None: it takes one."""
        per_node = self.plan.config.processes_per_node
        if not self.cluster or per_node is None:
            return None
        nodes = math.ceil(self.specification(wildcards)["processes"] / per_node)
        return nodes if nodes > 1 else None

    def mpi(self, wildcards: Wildcards) -> str | None:
        """What starts its processes on several nodes."""
        return "srun" if self.nodes(wildcards) else None

    def processes_here(self, wildcards: Wildcards) -> int:
        """Processes of it that one node has, at the most."""
        return math.ceil(self.specification(wildcards)["processes"] / (self.nodes(wildcards) or 1))

    def threads(self, wildcards: Wildcards) -> int:
        """Cores that it needs, on each node."""
        return self.processes_here(wildcards) * self.specification(wildcards)["threads"]

    def memory(self, wildcards: Wildcards) -> int:
        """Megabytes to ask for, on each node."""
        at = self.specification(wildcards)
        parameters = self.catalogues.parameters(at["model"]["name"])
        return megabytes(parameters, self.processes_here(wildcards), self.predicted(at))

    def minutes(self, wildcards: Wildcards) -> int:
        """Minutes to ask for."""
        execution = self.execution(wildcards)
        if isinstance(execution, Member):
            at = execution.specification
            own = at | {"train": at["train"] | {"steps": execution.generation.steps}}
            execution = replace(execution, specification=own)
        return minutes(execution, self.catalogues)

    def gres(self, wildcards: Wildcards) -> str:
        """GPUs to ask a cluster for, one per process, on each node."""
        return f"gpu:{self.processes_here(wildcards)}"

    def slots(self, wildcards: Wildcards) -> int:
        """GPUs of one machine that it takes, one per process."""
        return self.processes_here(wildcards)

    # the report

    def results(self, study: str) -> dict[str, list[str]]:
        """Every kind of result that the report reads, by kind."""
        plan = self.plan.studies[study]
        return {
            "trainings": [f"{run.folder}/summary.json" for run in plan.trainings],
            "metrics": [f"{run.folder}/metrics.jsonl" for run in plan.trainings],
            "validations": [f"{run.folder}/validation.parquet" for run in plan.trainings],
            "runs_and_probes": [f"{run.folder}/provenance.json" for run in plan.runs.values()],
            "evaluations": plan.compared_files,
            "items": [str(Path(file).with_suffix(".parquet")) for file in plan.compared_files],
            "by_step": plan.evaluation_files,
            "evaluated": list(dict.fromkeys([*plan.evaluation_files, *plan.text_files])),
            "texts": list(plan.text_files),
            "texts_items": [str(Path(file).with_suffix(".parquet")) for file in plan.text_files],
            "texts_rows": sorted(set(plan.text_files.values())),
            "parity": [f"{run.folder}/parity.json" for run in plan.probes],
            "cells": [cell.file for cell in plan.cells.values()],
            "generations": [file for search in plan.searches.values() for file in search.files],
            "members": [f"{member.folder}/summary.json" for member in plan.members.values()],
            "peaks": sorted({peak for run in plan.trainings if _has_mfu(run) and (peak := self._peak(run))}),
            "shortcuts": [f"{RESULTS}/{study}/shortcuts/{dataset}.json" for dataset in plan.choice_datasets],
            "points": [f"{RESULTS}/{study}/shortcuts/{dataset}.parquet" for dataset in plan.choice_datasets],
            "contamination": plan.contamination_files,
            "duplicates": plan.duplicate_files,
            "statistics": [
                f"{RESULTS}/data/{dataset}/{tokenizer}/statistics.json" for dataset, tokenizer in plan.token_sets
            ],
        }

    def reads(self, **names: str) -> Callable[[Wildcards], dict[str, list[str]]]:
        """An input function: the name that a rule gives to a kind of results, and the kind."""
        return lambda wildcards: {name: self.results(wildcards.study)[kind] for name, kind in names.items()}

    def study(self, wildcards: Wildcards) -> dict[str, Any]:
        """The study as it was read, without what only a result of its own depends on."""
        study = self._study(wildcards).study
        own = {"evaluate": {"contamination"}}
        everywhere = {**own, "grids": {"__all__": own}, "tune": {"__all__": own}}
        return EscapedParams(study.model_dump(mode="json", exclude=everywhere))

    def study_models(self, wildcards: Wildcards) -> dict[str, Any]:
        """The catalogue's entries that the study names anywhere."""
        plan = self._study(wildcards)
        jobs = [*plan.runs.values(), *plan.cells.values()]
        named = {job.specification["model"]["name"] for job in jobs}
        named |= {*plan.study.pretrained, *(entry.model for entry in plan.study.published)}
        known = sorted(named & set(self.catalogues.models))
        return EscapedParams({name: self.catalogues.models[name].model_dump(mode="json") for name in known})

    def counting_code(self, wildcards: Wildcards) -> str:
        """The code that counts the parameters of a study's models."""
        families = {model["family"] for model in self.study_models(wildcards).values()}
        return code_hash(*map(family_module, sorted(families)))

    @property
    def prices(self) -> dict[str, Any] | None:
        """What a device's hour costs, where the configuration says so."""
        prices = self.plan.config.prices
        return EscapedParams(prices.model_dump()) if prices else None

    @property
    def energy(self) -> dict[str, Any]:
        """What the energy of trainings is computed from."""
        return EscapedParams(self.plan.config.energy.model_dump(mode="json"))

    def product_params(self, product: Product) -> dict[str, Any]:
        """What else of the configuration a figure or a table takes."""
        values = {"models": self.study_models, "prices": self.prices, "energy": self.energy}
        counting = {"counting": self.counting_code} if "models" in product.params else {}
        return counting | {name: values[name] for name in product.params}

    def figures(self, study: str) -> dict[str, str]:
        """Heading and file of each figure of a study, in the order of its overview."""
        plan = self.plan.studies[study]
        return {
            figure.heading: f"{RESULTS}/{study}/report/{figure.stem}.svg" for figure in FIGURES if figure.when(plan)
        }

    def rows(self, wildcards: Wildcards) -> list[str]:
        """The results of every run, probe and measured cell of a study."""
        plan = self.plan.studies[wildcards.study]
        runs = [f"{run.folder}/summary.json" for run in (*plan.runs.values(), *plan.members.values())]
        return [*runs, *(cell.file for cell in plan.cells.values())]

    def report(self, study: str) -> list[str]:
        """Every page, figure and table of a study's report, and the folder of its model cards."""
        plan = self.plan.studies[study]
        tables = [table.stem for table in TABLES if table.when(plan)]
        pages = ["overview", *tables, *(["samples"] if plan.text_files else [])]
        cards = [f"{RESULTS}/{study}/report/model-cards"] if plan.trainings else []
        return [*self.figures(study).values(), *(f"{RESULTS}/{study}/report/{page}.html" for page in pages), *cards]


def _has_mfu(training: Execution) -> bool:
    """Whether a training's FLOPs are counted: of pairs other tokens are read than are predicted."""
    return training.specification["task"] != "summarisation"


def training_code(specification: dict[str, Any]) -> str:
    """A hash of the code of a run: its worker, what is made of its steps, its own engine and its own family."""
    return _code(specification, "trainyard.train.worker", "trainyard.train.summary")


def _code(specification: dict[str, Any], *entries: str) -> str:
    family = specification["model"]["family"]
    own = (engine_module(specification["parallel"]["engine"]), f"trainyard.models.{family}", family_module(family))
    return code_hash(*entries, *own)


class EscapedParams(dict[str, Any]):
    """A parameter that holds texts of the configuration.

    Snakemake's report writes the parameters of each job, as Python would, into a script of its page, which a text with
    `</script>` would end: here `<` is written as its escape. To a script of a rule it is a plain dictionary.
    """

    def __repr__(self) -> str:
        return super().__repr__().replace("<", r"\x3c")

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)
