"""What the trainings of a planned study are to cost, by arithmetic: a table of each study at the dry run.

Time is FLOPs over the rate that a device sustains, which no plan can know: config.yaml says it (`estimate`), or it is a
guess. So the figures tell a study of an hour from one of a week, and which of its runs are the dear ones.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from trainyard.config.settings import Config
from trainyard.config.train import Train
from trainyard.core.text import align_columns
from trainyard.estimate.memory import predict_execution
from trainyard.plan.capabilities import explain_never_supported
from trainyard.plan.resources import RATE, training_flops, training_tokens
from trainyard.plan.runs import Catalogues, Execution
from trainyard.plan.searches import Search
from trainyard.plan.study import StudyPlan

WATTS_OF_GPU = 400.0
"""Of an A100, of whose peak RATE is a third."""
CHECKPOINTED = 4 / 3
"""The work of a step whose blocks do their forward pass twice, over that of one whose blocks do it once."""
_HOUR = 3600.0
_HEADINGS = ("training", "runs", "processes", "GiB each", "tokens", "FLOP", "hours", "kWh")


@dataclass(frozen=True)
class Cost:
    """What one or more trainings are to take.

    Attributes:
        tokens: that they read and predict, of pairs at their full length.
        flops: of all weights.
        hours: one after another.
        kwh: of the devices that compute, with what their building takes.
        money: None without a price.
    """

    tokens: int
    flops: float
    hours: float
    kwh: float
    money: float | None


@dataclass(frozen=True)
class _Line:
    """A line of the table."""

    name: str
    runs: Sequence[Execution]
    memory: int | None
    """Bytes of the process that needs most; None where nobody has counted."""
    cost: Cost | None
    """Of all of them; None where their dataset doesn't tell its size."""


def describe_costs(
    study: StudyPlan, config: Config, why_unsupported: Callable[[Execution], str | None]
) -> Iterable[str]:
    """A table of a study's trainings, runs that differ in their seed alone in one line; nothing if it trains nothing.

    Args:
        study: that is planned.
        config: with `estimate`, `prices` and `energy`.
        why_unsupported: why a training can't be done here, if so. It has no line then; with an `estimate`, of
            another machine, what can be done on none has none.
    """
    refuse = why_unsupported if config.estimate is None else lambda run: _why_never(study.catalogues, run)
    lines = [*_list_runs(study, config, refuse), *_list_searches(study, config, refuse)]
    if not lines:
        return
    known = [line.cost for line in lines if line.cost]
    memory = max((line.memory for line in lines if line.memory), default=None)
    runs = [run for line in lines for run in line.runs]
    lines.append(_Line("all", runs, memory, add_costs(known) if known else None))
    headings = [*_HEADINGS, config.prices.currency if config.prices else ""]
    cells = zip(headings, *map(_cells, lines), strict=True)
    columns = [(title, title != _HEADINGS[0], values) for title, *values in cells if any(values)]
    unknown = {run.specification["dataset"] for line in lines if not line.cost for run in line.runs}
    yield (
        f"{study.name}: what its trainings cost, done or not ({_assumptions(lines[0].runs[0], config)})\n"
        f"{align_columns(columns)}"
    )
    if unknown:
        names = ", ".join(sorted(unknown))
        yield f"{study.name}: no cost of passes over {names}: give config/datasets.yaml its tokens, or rows of pairs"


def estimate_cost(run: Execution, catalogues: Catalogues, config: Config) -> Cost | None:
    """The cost of one training; None where its dataset doesn't tell how large it is."""
    at = run.specification
    device, tokens = at["device"], training_tokens(run, catalogues)
    if tokens is None:
        return None
    flops = training_flops(run, tokens)
    # a guess, and what a thread of a CPU does, are of one thread
    each = at["threads"] if device == "cpu" else 1
    rate, watts = _machine(device, config)
    work = flops * (CHECKPOINTED if at["train"]["activation_checkpointing"] else 1)
    device_hours = work / (rate * each) / _HOUR
    price = config.prices.hour(device) if config.prices else None
    return Cost(
        tokens=tokens,
        flops=flops,
        hours=device_hours / at["processes"],
        kwh=device_hours * each * watts * config.energy.pue / 1000,
        money=None if price is None else price * device_hours,
    )


def add_costs(costs: Iterable[Cost]) -> Cost:
    """The sum of several, one after another."""
    each = list(costs)
    money = [cost.money for cost in each if cost.money is not None]
    return Cost(
        tokens=sum(cost.tokens for cost in each),
        flops=sum(cost.flops for cost in each),
        hours=sum(cost.hours for cost in each),
        kwh=sum(cost.kwh for cost in each),
        money=sum(money) if len(money) == len(each) else None,
    )


def _list_runs(study: StudyPlan, config: Config, refuse: Callable[[Execution], str | None]) -> list[_Line]:
    """The runs and probes but for the winners of searches, which are members of the last generation."""
    groups: dict[str, list[Execution]] = {}
    for run in study.runs.values():
        if run.name not in study.winners and refuse(run) is None:
            groups.setdefault(run.name.rpartition("_seed")[0], []).append(run)
    return [
        _Line(name, runs, _memory([runs[0]]), _cost(runs, study.catalogues, config)) for name, runs in groups.items()
    ]


def _list_searches(study: StudyPlan, config: Config, refuse: Callable[[Execution], str | None]) -> list[_Line]:
    searches = [search for search in study.searches.values() if refuse(search.winner) is None]
    return [
        _Line(
            f"search {search.name}",
            [member for members in search.members for member in members],
            _memory(_extremes(search)),
            _cost(_generations(search), study.catalogues, config),
        )
        for search in searches
    ]


def _generations(search: Search) -> list[Execution]:
    """The members with the steps of their own generation."""
    return [
        _with_train(member, steps=generation.steps)
        for generation, members in zip(search.generations, search.members, strict=True)
        for member in members
    ]


def _extremes(search: Search) -> list[Execution]:
    """A member at each end of each setting that is searched."""
    ends = [{name: value} for name, values in search.tune.over.items() for value in values.ends]
    return [_with_train(search.winner, **settings) for settings in ends]


def _with_train(run: Execution, **settings: object) -> Execution:
    train = Train.model_validate(run.specification["train"] | settings).model_dump(mode="json")
    return replace(run, specification=run.specification | {"train": train})


def _memory(runs: Sequence[Execution]) -> int | None:
    predicted = [found.total for run in runs if (found := predict_execution(run.specification))]
    return max(predicted, default=None)


def _cost(runs: Sequence[Execution], catalogues: Catalogues, config: Config) -> Cost | None:
    costs = [estimate_cost(run, catalogues, config) for run in runs]
    known = [cost for cost in costs if cost is not None]
    return add_costs(known) if len(known) == len(costs) else None


def _why_never(catalogues: Catalogues, run: Execution) -> str | None:
    at, setting = run.specification, catalogues.parallel[run.entry]
    return explain_never_supported(setting, at["model"]["family"], at["precision"], at["processes"], at["train"])


def _machine(device: str, config: Config) -> tuple[float, float]:
    """FLOP/s and watts of a GPU, or of a thread of a CPU."""
    if config.estimate:
        return config.estimate.tflops * 1e12, config.estimate.watts
    return RATE[device], config.energy.watts_per_core if device == "cpu" else WATTS_OF_GPU


def _assumptions(run: Execution, config: Config) -> str:
    device = run.specification["device"]
    rate, watts = _machine(device, config)
    each = "thread of a CPU" if device == "cpu" else "GPU"
    guess = "" if config.estimate else "a guess; `estimate` says better: "
    return (
        f"{guess}{rate / 1e12:g} TFLOP/s and {watts:g} W a {each}; all weights, rows at full length; one after "
        "another, without validations and evaluations"
    )


def _cells(line: _Line) -> list[str]:
    processes = {run.specification["processes"] for run in line.runs}
    cost = line.cost
    numbers = (cost.tokens, cost.flops, cost.hours, cost.kwh, cost.money) if cost else (None,) * 5
    return [
        line.name,
        str(len(line.runs)),
        str(*processes) if len(processes) == 1 else "",
        "" if line.memory is None else f"{line.memory / 2**30:.1f}",
        *("" if value is None else _number(value) for value in numbers),
    ]


def _number(value: float) -> str:
    return f"{value:.1e}" if value >= 1e6 else f"{value:,.0f}" if value >= 99.5 else f"{value:.2g}"
