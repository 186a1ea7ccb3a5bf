"""Forecasts of losses, beside what the runs came to."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainyard.core.files import read_json, sha256_file
from trainyard.report.results.runs import Run


@dataclass(frozen=True)
class TestedForecast:
    """A forecast with the run that tests it.

    Attributes:
        raw: forecast.json.
        run: the run.
        first: whether the run's record has this very file among the inputs of its training; None of a run without one.
    """

    raw: dict[str, Any]
    run: Run
    first: bool | None

    @property
    def measured(self) -> float | None:
        """The run's last validation loss, if it came to the end of its schedule."""
        return self.run.summary["validation_loss"] if self.run.finished and not self.run.stopped_early else None

    @property
    def error(self) -> float | None:
        """The measured loss over the forecast one, minus one."""
        if self.measured is None or self.raw["loss"] is None:
            return None
        return self.measured / self.raw["loss"] - 1

    @property
    def inside(self) -> bool | None:
        """Whether the measured loss is inside the interval."""
        if self.measured is None or self.raw["loss"] is None:
            return None
        return self.raw["low"] <= self.measured <= self.raw["high"]

    @property
    def times_compute(self) -> float:
        """Its compute over the most of the runs that it rests on, 6 N D of each."""
        most = max((pair["parameters"] * pair["tokens"] for pair in self.raw["budgets"]), default=0)
        return self.raw["parameters"] * self.raw["tokens"] / most if most else 0.0


def read_forecasts(paths: Iterable[Path], runs: Sequence[Run]) -> list[TestedForecast]:
    """The forecasts in these files, each with its run."""
    by_name = {run.name: run for run in runs}
    read = ((path, read_json(path)) for path in paths)
    return [TestedForecast(raw, by_name[raw["run"]], _is_input(path, by_name[raw["run"]])) for path, raw in read]


def _is_input(forecast: Path, run: Run) -> bool | None:
    record = run.folder / "provenance.json"
    if not record.is_file():
        return None
    hashes = [value for name, value in read_json(record)["inputs"].items() if Path(name).name == forecast.name]
    return sha256_file(forecast) in hashes
