"""Forecasts of losses, beside what the runs came to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trainyard.report.results.runs import Run


@dataclass(frozen=True)
class TestedForecast:
    """A forecast with the run that tests it.

    Attributes:
        raw: forecast.json as it was when the training began.
        run: the run.
    """

    raw: dict[str, Any]
    run: Run

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
        most = max((each["parameters"] * each["tokens"] for each in self.raw["runs"]), default=0)
        return self.raw["parameters"] * self.raw["tokens"] / most if most else 0.0


def select_forecasts(runs: Sequence[Run]) -> list[TestedForecast]:
    """The forecasts that runs began with."""
    return [TestedForecast(run.summary["forecast"], run) for run in runs if run.summary.get("forecast")]
