"""What a recipe may cost less or more of than `base`: an entry each, a column of the trade-offs where runs fill it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from trainyard.config.settings import ENERGY, Energy
from trainyard.config.train import Train, rows_per_step
from trainyard.report.results.runs import Evaluation, Run, add_up_generation
from trainyard.report.statistics.energy import compared_kwh

Direction = Literal["less", "more"]
TIMED = 0.1  # what was timed beside other jobs is noise below
SEEDS_TO_TIME = 2  # a machine can be slow for minutes, which one run of each doesn't show


@dataclass(frozen=True)
class Quantity:
    """A cost of a run that is compared as a ratio.

    Attributes:
        key: its name in the CSV; `expect` knows memory and speed.
        title: its heading.
        tip: what exactly it is.
        better: which way is better.
        margin: by how much it must differ in every seed before it is said to.
        read: its value for a run with the evaluations of its models; None where it has none.
        seeds: how many it takes to say so.
    """

    key: str
    title: str
    tip: str
    better: Direction
    margin: float
    read: Callable[[Run, Sequence[Evaluation]], float | None]
    seeds: int = 1


def _memory(run: Run, _: Sequence[Evaluation]) -> float | None:
    device = run.summary["peak_device_memory"]
    return run.summary["peak_host_memory"] if device is None else device


def _tokens(run: Run, _: Sequence[Evaluation]) -> float | None:
    return run.summary["computed_tokens"] or run.summary["tokens"]


def _speed(run: Run, _: Sequence[Evaluation]) -> float | None:
    if run.summary["tokens_per_second"] is None:
        return None
    return rows_per_step(Train.model_validate(run.specification["train"])) / run.summary["step_seconds"]["median"]


def _tokens_per_second(run: Run, _: Sequence[Evaluation]) -> float | None:
    return run.summary["tokens_per_second"]


def _generated(unit: Literal["rows", "tokens"]) -> Callable[[Run, Sequence[Evaluation]], float | None]:
    """What all evaluations of a run's models that generate have done a second."""

    def read(_: Run, evaluations: Sequence[Evaluation]) -> float | None:
        timed = add_up_generation(evaluations)
        return timed[f"timed_{unit}"] / timed["timed_seconds"] if timed else None

    return read


def _hours(run: Run, _: Sequence[Evaluation]) -> float | None:
    return run.summary["elapsed_seconds"] * run.specification["processes"]


QUANTITIES = (
    Quantity("memory", "peak memory", "of the process that takes most", "less", 0.02, _memory),
    Quantity("tokens", "computed tokens", "of pairs with their padding", "less", 0.001, _tokens),
    Quantity("speed", "training samples/s", "median step without warm-up", "more", TIMED, _speed, SEEDS_TO_TIME),
    Quantity(
        "tokens_per_second",
        "training tokens/s",
        "predicted tokens without padding, median step without warm-up",
        "more",
        TIMED,
        _tokens_per_second,
        SEEDS_TO_TIME,
    ),
    Quantity(
        "generation_speed",
        "generation samples/s",
        "without the first batch of each process; a model that ends sooner is quicker",
        "more",
        TIMED,
        _generated("rows"),
        SEEDS_TO_TIME,
    ),
    Quantity(
        "generated_tokens_per_second",
        "generated tokens/s",
        "up to the end of each summary, without padding and without the first batch of each process",
        "more",
        TIMED,
        _generated("tokens"),
        SEEDS_TO_TIME,
    ),
    Quantity(
        "hours",
        "device hours",
        "until the run ended, early or not; money goes by them, at one price an hour",
        "less",
        TIMED,
        _hours,
        SEEDS_TO_TIME,
    ),
)
"""In the order of the columns, without energy, of which `list_quantities` knows."""


def list_quantities(runs: Sequence[Run], energy: Energy = ENERGY) -> tuple[Quantity, ...]:
    """All of them for runs that are compared, whose energy is known in one way, or isn't compared."""
    kwh = dict(zip((run.name for run in runs), compared_kwh(runs, energy), strict=True))
    tip = "of all by a counter, or of all by a model"
    return *QUANTITIES, Quantity("energy", "kWh", tip, "less", TIMED, lambda run, _: kwh[run.name], SEEDS_TO_TIME)


BY_KEY = {each.key: each for each in list_quantities([])}
