"""What a run's model had cost when it was taken: steps, tokens, FLOPs, device hours and money."""

from collections.abc import Sequence
from dataclasses import dataclass

from trainyard.config.settings import Prices
from trainyard.report.render.format import join_words, tick
from trainyard.report.results.runs import Evaluation, Run

HOUR = 3600.0
FLOPS = "tokens x (6 N + 12 L h Q T)"


@dataclass(frozen=True)
class Cost:
    """What training had taken up to a step.

    Attributes:
        step: optimizer steps done; a mean over seeds need not be whole.
        tokens: predicted tokens, over all processes.
        flops: tokens x FLOPs per token, as the MFU counts them; None where the run has no such figure.
        hours: of one device each: elapsed time x processes.
        money: hours x the price of one; None without a price.
    """

    step: float
    tokens: float
    flops: float | None
    hours: float
    money: float | None


def cost_at(run: Run, step: int, prices: Prices | None = None) -> Cost | None:
    """What a run had cost after a step, by its metrics.jsonl; None where that has no such step."""
    if not 1 <= step <= len(run.metrics):
        return None
    row = run.metrics[step - 1]
    each = run.summary.get("flops_per_token")
    hours = run.specification["processes"] * row["elapsed_seconds"] / HOUR
    price = prices.hour(run.specification["device"]) if prices else None
    return Cost(
        step=row["step"],
        tokens=row["tokens"],
        flops=None if each is None else each * row["tokens"],
        hours=hours,
        money=None if price is None else price * hours,
    )


def step_of(evaluation: Evaluation, run: Run) -> int | None:
    """After how many steps the evaluated model stood: as it says itself, else as its run does."""
    origin = evaluation.raw.get("model_origin") or {}
    if "step" in origin:
        return origin["step"]
    if evaluation.checkpoint.startswith("step-"):
        return int(evaluation.checkpoint.removeprefix("step-"))
    best = run.summary["best"] or {}
    return {"best": best.get("step"), "last": run.summary["steps"]}.get(evaluation.checkpoint)


def ends_schedule(run: Run, step: int) -> bool:
    """Whether a run of so many steps would have given the same model.

    So it is at a run's last step, and at any where the rate does not decay. Before, the rate is that of a longer run:
    a checkpoint in the middle of a decay is worse than a run whose decay ends there.
    """
    if run.specification["train"]["decay"] == "constant":
        return True
    return run.finished and step == run.summary["steps"] and not run.stopped_early


def mean_cost(costs: Sequence[Cost]) -> Cost:
    """The mean of several seeds' costs."""

    def mean(values: Sequence[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return sum(known) / len(known) if len(known) == len(values) else None

    step, tokens, hours = (
        sum(getattr(cost, name) for cost in costs) / len(costs) for name in ("step", "tokens", "hours")
    )
    return Cost(step, tokens, mean([cost.flops for cost in costs]), hours, mean([cost.money for cost in costs]))


def pareto_front(points: Sequence[tuple[float, float]], high: bool) -> list[int]:
    """The places of the points (cost, quality) that nothing cheaper or as cheap equals, from cheap to dear.

    Args:
        points: cost and quality of each.
        high: whether more quality is a higher number.
    """
    sign = 1 if high else -1
    order = sorted(range(len(points)), key=lambda place: (points[place][0], -sign * points[place][1]))
    results: list[int] = []
    for index in order:
        if not results or sign * points[index][1] > sign * points[results[-1]][1]:
            results.append(index)
    return results


def describe_prices(prices: Prices) -> str:
    """What an hour of each device costs."""
    price_texts = [f"{tick(price)} {name}" for name in ("cpu", "cuda") if (price := prices.hour(name)) is not None]
    return f"an hour of a device: {join_words(price_texts)}"
