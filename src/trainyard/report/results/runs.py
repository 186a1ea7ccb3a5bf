"""The files that the other stages left, read for the report."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from trainyard.core.code_versions import CodeVersion, read_versions
from trainyard.core.files import read_json, read_json_lines
from trainyard.core.statistics import Score
from trainyard.metrics import METRICS
from trainyard.report.results.item_scores import Items, read_items, read_validation

COORDINATES = ("dataset", "model", "parallel", "processes", "precision", "recipe", "seed")


@dataclass(frozen=True)
class Run:
    """One run's folder: its specification and its summary."""

    folder: Path
    specification: dict[str, Any]
    summary: dict[str, Any]

    @property
    def name(self) -> str:
        """The run's name, unique in its study."""
        return self.specification["run"]

    @property
    def finished(self) -> bool:
        """Whether it came to its end."""
        return self.summary["outcome"] == "finished"

    @property
    def stopped_early(self) -> bool:
        """Whether it ended before its planned last step, since validation had ceased to improve."""
        return self.finished and self.summary["steps"] < (self.summary.get("planned_steps") or 0)

    @property
    def code_versions(self) -> list[CodeVersion]:
        """The versions of the code that trained it; none of a run that never began."""
        return read_versions(self.summary.get("code_versions"))

    @property
    def coordinates(self) -> dict[str, str]:
        """Its place in the study: dataset, model, parallel setting and so on, as text."""
        values = {name: self.specification[name] for name in COORDINATES}
        values |= {name: values[name]["name"] for name in ("model", "parallel")}
        return {name: str(value) for name, value in values.items()}

    @property
    def tokenizer(self) -> str:
        """The tokenizer of its model: a loss per token means nothing beside another tokenizer's."""
        return self.specification["model"]["tokenizer"]

    @cached_property
    def metrics(self) -> list[dict[str, Any]]:
        """One row per step; empty if it never began."""
        path = self.folder / "metrics.jsonl"
        return read_json_lines(path) if path.is_file() else []

    @cached_property
    def validation_rows(self) -> dict[str, Items | str]:
        """The losses by row of its `best` and its `last` validation, or why there are none."""
        return read_validation(self.folder / "validation.parquet")


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of one model."""

    path: Path
    raw: dict[str, Any]

    @property
    def run(self) -> str:
        """The run, or the pretrained model, that was evaluated."""
        return self.raw["run"]

    @property
    def checkpoint(self) -> str:
        """`best`, `last`, `step-N`, or `pretrained`."""
        return self.raw["checkpoint"]

    @property
    def metric(self) -> str:
        """`perplexity`, `hellaswag` or `rouge`."""
        return self.raw["metric"]

    @property
    def reason(self) -> str:
        """Why there is no value."""
        return self.raw.get("reason") or "not evaluated"

    def reason_for(self, name: str) -> str:
        """Why there is no value of this name."""
        return (self.raw["values"] or {}).get(name, {}).get("reason") or self.reason

    @property
    def scores(self) -> dict[str, Score]:
        """The values by name; empty if there is none."""
        return _scores(self.raw["values"])

    @property
    def generation(self) -> dict[str, Any] | None:
        """How fast it generated; None where it did not, where its code did not time it yet, or nothing was timed."""
        found = self.raw.get("generation")
        return found if found and found["timed_seconds"] else None

    @property
    def levels(self) -> dict[str, dict[str, Any]]:
        """Scores by level of difficulty, in the order of the file; empty where items have none."""
        return (self.raw.get("levels") or {}) if self.raw["values"] else {}

    @property
    def baselines(self) -> dict[str, dict[str, Score]]:
        """Scores of simple baselines on the same rows."""
        baselines = self.raw.get("baselines") or {}
        return {name: scores for name, values in baselines.items() if (scores := _scores(values))}

    @cached_property
    def items(self) -> Items | str:
        """What was scored item by item, or why that can't be read."""
        return read_items(self.path.with_suffix(".parquet"), METRICS[self.metric].item_columns)

    @property
    def shots(self) -> int | None:
        """Examples before each item, where that has a meaning."""
        return self.raw["settings"].get("shots")

    @property
    def protocol_name(self) -> str:
        """The protocol's one word (`harness`, `completion`), empty where the metric has just one."""
        return str(self.raw["settings"].get("protocol", ""))

    @property
    def title(self) -> str:
        """What was evaluated, in a few words."""
        parts = [f"{self.raw['dataset']} {self.raw['split']}", self.protocol_name]
        if self.shots is not None:
            parts.append(f"{self.shots}-shot")
        return ", ".join(part for part in parts if part)


def _scores(values: Mapping[str, Any] | None) -> dict[str, Score]:
    """The scores among values by name: those that there are."""
    there = (
        (name, value)
        for name, value in (values or {}).items()
        if isinstance(value, int | float) or value["value"] is not None
    )
    return {name: parse_score(value) for name, value in there}


def parse_score(value: Any) -> Score:
    """A score from its JSON: `{value, standard_error, low, high}`, or a bare number."""
    if isinstance(value, int | float):
        return Score(float(value))
    return Score(value["value"], value.get("standard_error"), value.get("low"), value.get("high"))




def add_up_generation(evaluations: Iterable[Evaluation]) -> dict[str, float] | None:
    """What all timed generation of these comes to; None where there is none."""
    timed = [each.generation for each in evaluations if each.generation]
    names = ("timed_rows", "timed_tokens", "timed_seconds", "source_positions", "source_padding")
    return {name: sum(each[name] for each in timed) for name in names} if timed else None


def read_runs(folders: Iterable[Path]) -> list[Run]:
    """The runs in these folders, in the given order.

    Raises:
        InputError: a folder has no spec.json or no summary.json.
    """
    return [Run(folder, read_json(folder / "spec.json"), read_json(folder / "summary.json")) for folder in folders]


def read_evaluations(paths: Iterable[Path]) -> list[Evaluation]:
    """The evaluations in these files, in the given order."""
    return [Evaluation(path, read_json(path)) for path in paths]


def read_all(paths: Iterable[Path]) -> list[dict[str, Any]]:
    """The JSON objects in these files, in the given order."""
    return [read_json(path) for path in paths]


def varying_coordinates(runs: Sequence[Run]) -> list[str]:
    """The coordinates that are not the same in all runs, in their fixed order."""
    return [name for name in COORDINATES if len({run.coordinates[name] for run in runs}) > 1]


def distinguishing_coordinates(runs: Sequence[Run], without: str = "") -> list[str]:
    """As few coordinates as tell the runs apart, in their fixed order: the most telling first, until none adds any.

    Args:
        runs: any runs.
        without: a coordinate that is left out.
    """
    selected: list[str] = []

    def kinds(names: Sequence[str]) -> int:
        return len({tuple(run.coordinates[name] for name in names) for run in runs})

    # of equally telling coordinates the first of these
    candidates = sorted((name for name in varying_coordinates(runs) if name != without), key=_PLAIN.index)
    while candidates:
        best = max(candidates, key=lambda name: kinds([*selected, name]))
        if kinds([*selected, best]) == kinds(selected):
            break
        selected.append(best)
        candidates.remove(best)
    return [name for name in COORDINATES if name in selected]


_PLAIN = ("model", "parallel", "recipe", "precision", "processes", "seed", "dataset")


def label(run: Run, names: Sequence[str]) -> str:
    """A run's label: those coordinates that tell it apart; its model if none does."""
    templates = {"processes": "{} processes", "seed": "seed {}"}
    return " · ".join(templates.get(name, "{}").format(run.coordinates[name]) for name in names or ["model"])


def run_labels(runs: Sequence[Run], shown: set[str]) -> dict[str, str]:
    """A label for each run that is shown: those coordinates that tell it apart from the others shown."""
    selected = [run for run in runs if run.name in shown]
    names = distinguishing_coordinates(selected)
    return {run.name: label(run, names) for run in selected}


def model_labels(runs: Sequence[Run], group: Sequence[Evaluation]) -> list[str]:
    """A label for each evaluated model: its run's, with the checkpoint where runs have several."""
    labels = run_labels(runs, {each.run for each in group})
    several = len({each.checkpoint for each in group if each.checkpoint != "pretrained"}) > 1
    return [
        labels.get(each.run, each.run) + (f" ({each.checkpoint})" if several or each.checkpoint == "pretrained" else "")
        for each in group
    ]
