"""What the trainings of a planned study are to cost, by arithmetic: a table of each study at the dry run.

Time is FLOPs over the rate that a device sustains, which no plan can know: config.yaml says it (`estimate`), or it is a
guess. So the figures tell a study of an hour from one of a week, and which of its runs are the dear ones.
"""

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, replace

from trainyard.config.catalogue import Model
from trainyard.config.settings import Config
from trainyard.config.train import Train, joined_length
from trainyard.estimate.families import load_family
from trainyard.estimate.memory import predict_execution
from trainyard.estimate.parameters import flops_per_pair, flops_per_token
from trainyard.plan.resources import RATE, training_tokens
from trainyard.plan.runs import Catalogues, Execution
from trainyard.plan.study import StudyPlan

WATTS_OF_GPU = 400.0
"""Of an A100, of whose peak RATE is a third."""
_HOUR = 3600.0


@dataclass(frozen=True)
class Cost:
    """What one or more trainings are to take.

    Attributes:
        memory: bytes of the process that needs most; None where nobody has counted.
        tokens: that they read and predict.
        flops: of full training at full length: frozen parts, adapters and short rows make it less.
        hours: one after another.
        kwh: of the devices that compute, with what their building takes.
        money: None without a price.
    """

    memory: int | None
    tokens: int
    flops: float
    hours: float
    kwh: float
    money: float | None


def describe_costs(study: StudyPlan, config: Config) -> str:
    """A table of a study's trainings, runs that differ in their seed alone in one line; empty if it trains nothing."""
    groups = _group_trainings(study)
    costs = {name: [estimate_cost(run, study.catalogues, config) for run in runs] for name, runs in groups.items()}
    if not costs:
        return ""
    sums = {name: add_costs(each) for name, each in costs.items()}
    rows = [(name, len(costs[name]), groups[name][0].specification["processes"], cost) for name, cost in sums.items()]
    lines = [_cells(name, count, processes, cost) for name, count, processes, cost in rows]
    total = add_costs(sums.values())
    lines.append(_cells("all", sum(count for _, count, _, _ in rows), None, total))
    price = config.prices.currency if config.prices else ""
    headings = ["training", "runs", "processes", "GiB each", "tokens", "FLOP", "hours", "kWh", price]
    return f"{study.name}: what its trainings are to cost ({_assumptions(study, config)})\n{_align(headings, lines)}"


def estimate_cost(run: Execution, catalogues: Catalogues, config: Config) -> Cost:
    """The cost of one training."""
    at = run.specification
    model, train = Model.from_spec(at["model"]), Train.model_validate(at["train"])
    tokens, predicted = training_tokens(run, catalogues), predict_execution(at)
    flops = tokens * _flops_per_token(model, train, at["task"])
    hours = flops / _rate(at["device"], at["threads"], config) / at["processes"] / _HOUR
    device_hours, price = hours * at["processes"], config.prices.hour(at["device"]) if config.prices else None
    return Cost(
        memory=None if predicted is None else predicted.total,
        tokens=tokens,
        flops=flops,
        hours=hours,
        kwh=device_hours * _watts(at["device"], at["threads"], config) * config.energy.pue / 1000,
        money=None if price is None else price * device_hours,
    )


def add_costs(costs: Iterable[Cost]) -> Cost:
    """The sum of several, one after another; of memory the most."""
    memory, tokens, flops, hours, kwh, money = zip(*map(astuple, costs), strict=True)
    return Cost(
        memory=max((size for size in memory if size is not None), default=None),
        tokens=sum(tokens),
        flops=sum(flops),
        hours=sum(hours),
        kwh=sum(kwh),
        money=None if None in money else sum(money),
    )


def _group_trainings(study: StudyPlan) -> dict[str, list[Execution]]:
    """Runs by their names without a seed, and the generations of each search, of which its winner is one."""
    groups: dict[str, list[Execution]] = {}
    for run in study.runs.values():
        if run.name not in study.winners:
            groups.setdefault(run.name.rpartition("_seed")[0] or run.name, []).append(run)
    for search in study.searches.values():
        groups[f"search {search.name}"] = [
            replace(member, specification=member.specification | {"train": train | {"steps": generation.steps}})
            for generation, members in zip(search.generations, search.members, strict=True)
            for member in members
            for train in [member.specification["train"]]
        ]
    return groups


def _flops_per_token(model: Model, train: Train, task: str) -> float:
    if load_family(model.family).is_encoder_decoder:
        pair = flops_per_pair(model, train.source_length, train.target_length)
        return pair / (train.source_length + train.target_length)
    return flops_per_token(model, joined_length(train) if task == "summarisation" else train.sequence_length)


def _rate(device: str, threads: int, config: Config) -> float:
    """FLOP/s of one process."""
    if config.estimate:
        return config.estimate.tflops * 1e12
    return RATE[device] * (threads if device == "cpu" else 1)


def _watts(device: str, threads: int, config: Config) -> float:
    if config.estimate:
        return config.estimate.watts
    return threads * config.energy.watts_per_core if device == "cpu" else WATTS_OF_GPU


def _assumptions(study: StudyPlan, config: Config) -> str:
    if config.estimate:
        rate = f"{config.estimate.tflops:g} TFLOP/s and {config.estimate.watts:g} W a process"
    else:
        device = next(iter((study.runs or study.members).values())).specification["device"]
        each = "a thread" if device == "cpu" else "a GPU"
        watts = config.energy.watts_per_core if device == "cpu" else WATTS_OF_GPU
        rate = f"a guess of {RATE[device] / 1e12:g} TFLOP/s and {watts:g} W {each}: say better by `estimate`"
    return f"one after another, without evaluations; at {rate}"


def _cells(name: str, runs: int, processes: int | None, cost: Cost) -> list[str]:
    return [
        name,
        str(runs),
        "" if processes is None else str(processes),
        "" if cost.memory is None else f"{cost.memory / 2**30:.1f}",
        *(_number(value) for value in (cost.tokens, cost.flops, cost.hours, cost.kwh)),
        "" if cost.money is None else _number(cost.money),
    ]


def _number(value: float) -> str:
    return f"{value:.1e}" if value >= 1e6 else f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def _align(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """The first column to the left, numbers to the right; without columns that are empty."""
    table = [column for column in zip(headings, *lines, strict=True) if any(column[1:])]
    widths = [max(map(len, column)) for column in table]
    rows = zip(*table, strict=True)
    return "\n".join(
        "  ".join(text.rjust(width) if place else text.ljust(width) for place, (text, width) in enumerate(cells))
        for cells in (list(zip(row, widths, strict=True)) for row in rows)
    )
