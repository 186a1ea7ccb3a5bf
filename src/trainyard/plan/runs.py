"""From the grids of a study to its runs and probes, each with its whole specification."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from trainyard.config.catalogue import Dataset, Model, ParallelSetting, Precision, Tokenizer
from trainyard.config.study import BASE, Evaluate, Grid, Probes, Study
from trainyard.config.train import Train, fill_required, rows_per_step
from trainyard.config.yaml_entries import choose, parse
from trainyard.core.errors import InputError
from trainyard.estimate.parameters import parameters
from trainyard.plan.by_size import resolve_by_size
from trainyard.plan.capabilities import Device, explain_never_supported
from trainyard.plan.checks import check_spread, check_training, compute_share, task_of
from trainyard.report.results.comparable import make_comparison_key

RESULTS = Path("results")
REFERENCE = "reference"
# ten times the default: 20 steps at 1e-3 without it lose 1.8e-2 nats less, which no rounding of bf16 hides
PROBE_WEIGHT_DECAY = 1.0
# below fp32: it bites at every step. In fp32, where DeepSpeed's norm, taken in fp32, differs from torch's engines'
# in the last bit, clipping would tell them apart
PROBE_MAX_GRAD_NORM = 0.5


@dataclass(frozen=True)
class Catalogues:
    """All entries by name."""

    datasets: dict[str, Dataset]
    tokenizers: dict[str, Tokenizer]
    models: dict[str, Model]
    parallel: dict[str, ParallelSetting]

    def parameters(self, model: str) -> int:
        """How many parameters a model has."""
        return parameters(self.models[model])

    def prefix(self, tokenizer: str) -> str:
        """Text before each source that is to be summarised."""
        return getattr(self.tokenizers[tokenizer], "prefix", "")


@dataclass(frozen=True)
class Execution:
    """A run, a probe or a measured cell.

    `specification` holds everything that it depends on, as plain values.
    """

    study: str
    name: str
    specification: dict[str, Any]

    @property
    def entry(self) -> str:
        """The entry of config/parallel.yaml that it uses; the reference is one process."""
        name = self.specification["parallel"]["name"]
        return "single" if name == REFERENCE else name

    @property
    def compiled(self) -> bool:
        """Whether it goes through torch.compile."""
        return self.specification["train"]["compile"]

    @property
    def adapted(self) -> bool:
        """Whether it trains adapters."""
        return "lora" in self.specification["train"]


@dataclass(frozen=True)
class Run(Execution):
    """One training; a probe is one too. Its specification is what spec.json holds.

    Attributes:
        reference: of a probe, the run in fp32 that it is compared with, by name.
        same_precision: of a probe in bf16 or fp16, the reference in that precision.
        forecast_from: the runs that its loss is forecast from before it is trained, by name.
    """

    kind: Literal["run", "probe"]
    evaluate: Evaluate | None = None
    reference: str | None = None
    same_precision: str | None = None
    forecast_from: tuple[str, ...] = ()

    @property
    def is_reference(self) -> bool:
        """Whether others are compared with it."""
        return self.specification["parallel"]["name"] == REFERENCE

    @property
    def folder(self) -> str:
        """The folder of its declared outputs."""
        return f"{RESULTS}/{self.study}/{self.name}"


@dataclass(frozen=True)
class Coordinates:
    """What tells the runs of a study apart."""

    dataset: str
    model: str
    parallel: str
    processes: int
    precision: Precision
    recipe: str
    seed: int

    def name(self) -> str:
        """The run's name, without what its kind puts before it."""
        recipe = () if self.recipe == BASE else (self.recipe,)
        parts = (
            self.dataset,
            self.model,
            f"{self.parallel}-x{self.processes}",
            self.precision,
            *recipe,
            f"seed{self.seed}",
        )
        return "_".join(parts)


def merge_settings(grid: Grid, dataset: str, model: str, parallel: str) -> dict[str, Any]:
    """A grid's settings of training, with what it overrides for a dataset, then a model, then a parallel setting."""
    settings = dict(grid.train)
    settings |= grid.overrides.get("datasets", {}).get(dataset, {})
    settings |= grid.overrides.get("models", {}).get(model, {})
    settings |= grid.overrides.get("parallel", {}).get(parallel, {})
    return settings


class Expansion:
    """Expands one study; `place` is its file, for errors."""

    def __init__(self, study_name: str, study: Study, location: str, catalogues: Catalogues, device: Device) -> None:
        self.study_name = study_name
        self.study = study
        self.place = location
        self.catalogues = catalogues
        self.device: Device = device

    def runs(self) -> dict[str, Run]:
        """Every run of every grid, then every probe with its references, by name.

        Raises:
            InputError: a name that no catalogue has, settings that don't fit together, or a run given twice.
        """
        runs: dict[str, Run] = {}
        for run in itertools.chain(self._grid_runs(), self._probe_runs()):
            # two lists of probes may share a reference
            if run.name in runs and not (run.is_reference and run == runs[run.name]):
                raise InputError(f"{self.place}: the run {run.name} appears in two grids; remove it from one")
            runs[run.name] = run
        return runs

    def _grid_runs(self) -> Iterator[Run]:
        """Those of each grid; what is forecast comes after what it is forecast from."""
        cheaper: list[Run] = []
        for number, grid in sorted(enumerate(self.study.grids), key=lambda each: each[1].forecast):
            location = f"{self.place}: grids.{number}"
            runs = list(self._runs_of(grid, location))
            if not grid.forecast:
                cheaper += runs
            for run in runs:
                yield replace(run, forecast_from=_find_cheaper(run, cheaper, location)) if grid.forecast else run

    def _runs_of(self, grid: Grid, location: str) -> Iterator[Run]:
        self._check_settings(grid, location)
        for values in itertools.product(
            grid.datasets, grid.models, grid.parallel, grid.processes, grid.precision, grid.recipes, grid.seeds
        ):
            at = Coordinates(*values)
            train = self._train(grid, at, location)
            yield self.make_run(at, train, grid.threads, "run", location, grid.evaluate or self.study.evaluate)

    def _check_settings(self, grid: Grid, location: str) -> None:
        """See that each part of the settings can be, even if another part is given in its place."""
        first = choose(grid.models[0], self.catalogues.models, "model", f"{location}.models")
        parts = {"train": grid.train, **{f"recipes.{recipe}": each for recipe, each in grid.recipes.items()}}
        kinds = {"datasets": "dataset", "models": "model", "parallel": "parallel setting"}
        for what, named in grid.overrides.items():
            for name, settings in named.items():
                choose(
                    name,
                    dict.fromkeys(getattr(grid, what)),
                    f"{kinds[what]} of this grid",
                    f"{location}.overrides.{what}",
                )
                parts[f"overrides.{what}.{name}"] = settings
        for key, settings in parts.items():
            resolved = resolve_by_size(settings, first, f"{location}.{key}")
            parse(Train, fill_required(resolved), f"{location}.{key}")

    def _train(self, grid: Grid, at: Coordinates, location: str) -> Train:
        settings = merge_settings(grid, at.dataset, at.model, at.parallel) | grid.recipes.get(at.recipe, {})
        model = choose(at.model, self.catalogues.models, "model", f"{location}.models")
        return parse(Train, resolve_by_size(settings, model, f"{location}.train"), f"{location}.train")

    def _probe_runs(self) -> Iterator[Run]:
        first = self.study.grids[0] if self.study.grids else None
        for number, probes in enumerate(self.study.probes):
            location = f"{self.place}: probes.{number}"
            parse(Train, fill_required(probes.train), f"{location}.train")
            datasets = probes.datasets or (first.datasets[:1] if first else [])
            models = probes.models or (first.models[:1] if first else [])
            if not datasets or not models:
                raise InputError(f"{location}: name datasets and models; there is no grid to take them from")
            for dataset, model in itertools.product(datasets, models):
                own = (grid for grid in self.study.grids if dataset in grid.datasets and model in grid.models)
                train = self._probe_train(probes, next(own, first), dataset, model, location)
                yield from self._expand_probes(probes, train, dataset, model, location)

    def _expand_probes(self, probes: Probes, train: Train, dataset: str, model: str, location: str) -> Iterator[Run]:
        """The probes of one dataset and model, each after the references that cut a batch into as many shares."""
        for parallel in probes.parallel:
            setting = choose(parallel, self.catalogues.parallel, "parallel setting", f"{location}.parallel")
            processes = 1 if setting.one_process else probes.processes
            ranks = setting.data_ranks(processes)
            for precision in setting.precision:
                if precision not in probes.precision:
                    continue
                clip = None if precision == "fp32" else PROBE_MAX_GRAD_NORM
                own = train.model_copy(update={"max_grad_norm": clip})
                compared: list[Precision] = ["fp32"] if precision == "fp32" else ["fp32", precision]
                references = [self._reference(probes, own, dataset, model, ranks, each, location) for each in compared]
                yield from references  # those that probes share are the same run
                at = Coordinates(dataset, model, parallel, processes, precision, BASE, probes.seed)
                probe = self.make_run(at, own, probes.threads, "probe", location)
                exact, *same = [reference.name for reference in references]
                yield replace(probe, reference=exact, same_precision=same[0] if same else None)

    def _reference(
        self,
        probes: Probes,
        train: Train,
        dataset: str,
        model: str,
        ranks: int,
        precision: Precision,
        location: str,
    ) -> Run:
        """One process that takes the micro-batches of `ranks` data ranks, and sums their gradients by rank."""
        share = compute_share(train, ranks, f"{location}.train")
        train = train.model_copy(update={"micro_batch": train.micro_batch or share})
        recipe = f"ranks{ranks}" if train.max_grad_norm is None else f"ranks{ranks}-clipped"
        at = Coordinates(dataset, model, REFERENCE, 1, precision, recipe, probes.seed)
        run = self.make_run(at, train, probes.threads, "probe", location)
        run.specification["parallel"]["options"] = {"ranks": ranks}
        return run

    def _probe_train(self, probes: Probes, grid: Grid | None, dataset: str, model: str, location: str) -> Train:
        at = Coordinates(dataset, model, "", 1, "fp32", BASE, probes.seed)
        settings = self._train(grid, at, location).model_dump() if grid else {}
        # each process takes its share at once: settings differ in the order in which they sum micro-batches
        settings["micro_batch"] = None
        if "batch" in probes.train or "batch_tokens" in probes.train:
            settings |= {"batch": None, "batch_tokens": None}
        settings |= {"weight_decay": PROBE_WEIGHT_DECAY} | probes.train
        short = {
            "steps": probes.steps,
            "tokens": None,
            "epochs": None,
            "dropout": 0.0,
            "tf32": False,
            "optimizer": "adamw",  # Muon rounds its steps to bf16, which would hide what a parallel setting rounds
            "max_grad_norm": None,
            "warmup_steps": min(settings.get("warmup_steps") or 0, probes.steps // 10),
            "warmup_ratio": None,
            "keep_steps": [],
            "validate_every": probes.steps,
            "checkpoint_every": probes.steps,
        }
        if lora := settings.get("lora"):
            settings["lora"] = {**lora, "dropout": 0.0}
        for key in short.keys() & probes.train.keys():
            raise InputError(f"{location}.train.{key}: every probe has its own {key}; remove the line")
        return parse(Train, settings | short, f"{location}.train")

    def make_run(
        self,
        at: Coordinates,
        train: Train,
        threads: int,
        kind: Literal["run", "probe"],
        location: str,
        evaluate: Evaluate | None = None,
    ) -> Run:
        """A run or a probe with its whole specification.

        Args:
            at: its coordinates.
            train: its settings.
            threads: of a process.
            kind: which of the two.
            location: file and key of what asks for it, for errors.
            evaluate: what is evaluated.

        Raises:
            InputError: a name that no catalogue has, or settings that don't fit together.
        """
        dataset = choose(at.dataset, self.catalogues.datasets, "dataset", f"{location}.datasets")
        model = choose(at.model, self.catalogues.models, "model", f"{location}.models")
        entry = "single" if at.parallel == REFERENCE else at.parallel
        setting = choose(entry, self.catalogues.parallel, "parallel setting", f"{location}.parallel")
        tokenizer = self.catalogues.tokenizers[model.tokenizer]
        check_training(train, (at.dataset, dataset), (at.model, model), tokenizer, location)
        share = compute_share(train, setting.data_ranks(at.processes), f"{location}.train")
        never = explain_never_supported(setting, model.family, at.precision, at.processes, train.model_dump())
        if at.parallel != REFERENCE and never is None:
            check_spread(setting, at.parallel, (at.model, model), share, f"{location}.parallel")
        train = train.model_copy(update={"micro_batch": train.micro_batch or share})
        data = f"{RESULTS}/data/{at.dataset}/{model.tokenizer}"
        validates = kind == "run" and "validation" in dataset.splits
        specification = {
            "study": self.study_name,
            "run": at.name() if kind == "run" else f"probe_{at.name()}",
            "kind": kind,
            "task": task_of(dataset),
            "dataset": at.dataset,
            "model": {"name": at.model, **model.to_spec(pretrained=train.initial == "pretrained")},
            "parallel": {"name": at.parallel, **setting.to_spec()},
            "processes": at.processes,
            "threads": threads,
            "device": self.device,
            "precision": at.precision,
            "recipe": at.recipe,
            "seed": at.seed,
            "train": train.model_dump(mode="json"),
            "data": {
                "train": f"{data}/train",
                "validation": f"{data}/validation" if validates else None,
                "tokenizer": f"{data}/tokenizer",
                "weights": f"{RESULTS}/models/{at.model}" if train.initial == "pretrained" else None,
            },
        }
        return Run(self.study_name, specification["run"], specification, kind, evaluate)


def count_planned_tokens(run: Execution) -> int | None:
    """Training tokens of whole steps; None of pairs, and where the data alone tells how long an epoch is."""
    train = Train.model_validate(run.specification["train"])
    if run.specification["task"] != "language-modelling" or train.epochs is not None:
        return None
    step = rows_per_step(train) * train.sequence_length
    return (train.steps or (train.tokens or 0) // step) * step


def _find_cheaper(run: Run, runs: Sequence[Run], location: str) -> tuple[str, ...]:
    """The runs that a loss can be forecast from: of less compute, whose losses are of the same kind."""

    def compute(run: Run) -> int:
        return parameters(Model.from_spec(run.specification["model"])) * (count_planned_tokens(run) or 0)

    if count_planned_tokens(run) is None:
        raise InputError(
            f"{location}.forecast: a forecast is of text and a known number of tokens; give steps or tokens"
        )
    own = make_comparison_key(run.specification)
    alike = [each for each in runs if make_comparison_key(each.specification) == own]
    found = tuple(each.name for each in alike if 0 < compute(each) < compute(run))
    if not found:
        model, train = run.specification["model"], run.specification["train"]
        raise InputError(
            f"{location}.forecast: no other grid trains {model['family']} models on {run.specification['dataset']} "
            f"with the tokenizer {model['tokenizer']}, with less compute (6 N D, by steps or tokens, batch or "
            f"batch_tokens) and the same sequence_length ({train['sequence_length']}), "
            f"validation_tokens ({train['validation_tokens']}), "
            "initial, freeze, lora and attention (window); add one of smaller models"
        )
    return found
