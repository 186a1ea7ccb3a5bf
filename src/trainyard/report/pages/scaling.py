"""Loss against size: a power law fitted to the runs, beside Kaplan's prediction."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter
from scipy import stats

from trainyard.config.catalogue import Model
from trainyard.config.study import Study
from trainyard.core.statistics import ROUNDING, all_equal
from trainyard.estimate.parameters import parameters_without_embeddings
from trainyard.report.render import style
from trainyard.report.render.format import decimal, join_words, short, tick, truncate
from trainyard.report.render.html import Cell, Column, Row, Table, missing_cell, write_table
from trainyard.report.results.runs import Run, read_runs
from trainyard.report.statistics.seeds import headline

LEAST = 3
NEAR = 1.25  # Kaplan's prediction is drawn where it lies within this factor of the losses
NOTE = (
    "Kaplan's law is for web text in a BPE of about 50,000 tokens, trained to the compute-efficient point: on other "
    "data or with another tokenizer its losses don't apply, only the slopes compare."
)


@dataclass(frozen=True)
class PowerLaw:
    """loss = (scale / N) ** exponent.

    Attributes:
        exponent: the slope on log-log axes, downwards.
        error: one standard error of the exponent; none where the points lie on the line to the last digit.
        low: the lower end of the exponent's 95 % interval (Student's t, sizes - 2 degrees of freedom), or none.
        high: the upper end, or none.
        scale: the N at which the loss would be one nat.
    """

    exponent: float
    scale: float
    error: float | None = None
    low: float | None = None
    high: float | None = None

    def loss(self, parameters: float) -> float:
        """The fitted loss of a size."""
        return (self.scale / parameters) ** self.exponent


@dataclass(frozen=True)
class Point:
    """One size: measured (a run) or published."""

    name: str
    model: str
    parameters: int
    loss: float
    kaplan: "Prediction"
    published: bool = False
    source: str = ""


def fit(points: Sequence[Point]) -> PowerLaw | None:
    """Fit a power law to log loss against log N by least squares; none where `explain_unfitted` says why."""
    sizes = {point.parameters for point in points}
    losses = [point.loss for point in points]
    if len(sizes) < LEAST or min(losses) <= 0 or all_equal(losses):
        return None
    x = np.log([point.parameters for point in points])
    y = np.log([point.loss for point in points])
    line: Any = stats.linregress(x, y)
    slope, intercept, error = -float(line.slope), float(line.intercept), float(line.stderr)
    scale = math.exp(intercept / slope)
    if np.abs(y - intercept + slope * x).max() <= ROUNDING * np.abs(y).max():
        return PowerLaw(slope, scale)
    half = float(stats.t.ppf(0.975, len(points) - 2)) * error
    return PowerLaw(slope, scale, error, slope - half, slope + half)


def gather(study: Study, runs: Sequence[Run], models: Mapping[str, Model]) -> list[Point]:
    """The sizes of a study's finished runs and published ones.

    Where several runs share a model, the configuration of the lowest mean over seeds stands for it, with its mean.

    Losses compare on one dataset and tokenizer alone: that with most sizes. A published
    result counts where it gives a loss, or a perplexity per token, for a model of the catalogue.
    """
    by_data: dict[tuple[str, str], dict[str, list[tuple[str, str, float]]]] = {}
    for run in runs:
        best_loss = (run.summary["best"] or {}).get("validation_loss")
        loss = best_loss if best_loss is not None else run.summary["validation_loss"]
        name = run.coordinates["model"]
        if not run.finished or loss is None or name not in models:
            continue
        losses = by_data.setdefault((run.coordinates["dataset"], run.tokenizer), {})
        losses.setdefault(name, []).append((run.name, "", loss))
    points = []
    for name, losses in max(by_data.values(), key=len, default={}).items():
        head = headline(runs, losses, lower=True)
        points.append(_point(losses[head.place][0], name, models[name], fmean(head.values)))
    for entry in study.published:
        loss = entry.values.get("validation_loss")
        perplexity = entry.values.get("perplexity_token")
        if loss is None and perplexity is not None:
            loss = math.log(perplexity)
        if loss is not None and entry.model in models:
            points.append(_point(entry.model, entry.model, models[entry.model], loss, True, entry.source))
    return sorted(points, key=lambda point: (point.published, point.parameters))


def draw(study: Study, *, runs: Sequence[Path], models: Mapping[str, Model], output: Path) -> None:
    """Draw loss against parameters without embeddings on log-log axes, with the fit and Kaplan's prediction.

    Args:
        study: gives the published results.
        runs: folders with spec.json and summary.json.
        models: the catalogue.
        output: the SVG.
    """
    points = [point for point in gather(study, read_runs(runs), models) if point.loss > 0]  # 0 has no logarithm
    if not points:
        style.draw_empty(output, f"No run of “{study.title}” has a validation loss to fit.")
        return
    with style.figure(output, height=4.8) as drawing:
        axes = drawing.add_axes((0.075, 0.135, 0.6, 0.77))
        axes.set(
            title="Validation loss against size", xlabel="parameters without embeddings", ylabel="loss, nats per token"
        )
        remark = _panel(axes, points)
        axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0))
        axes.text(1.035, 0.0, remark, transform=axes.transAxes, fontsize=9, color=style.FAINT, linespacing=1.5)


def tabulate(study: Study, *, runs: Sequence[Path], models: Mapping[str, Model], table: Path, numbers: Path) -> None:
    """Write measured, fitted and predicted losses as HTML and CSV.

    Args:
        study: gives the title and the published results.
        runs: folders with spec.json and summary.json.
        models: the catalogue.
        table: the HTML page.
        numbers: the CSV.
    """
    points = gather(study, read_runs(runs), models)
    law = fit([point for point in points if not point.published])
    columns = [
        Column("model", "model", text=True),
        Column("parameters", "parameters", tip="without embeddings"),
        Column("loss", "loss, nats", "measured, per token"),
        Column("perplexity", "perplexity", "measured, per token"),
        Column("fitted", "loss", "fitted"),
        Column("kaplan_loss", "loss", "Kaplan's prediction"),
        Column("kaplan_perplexity", "perplexity", "Kaplan's prediction"),
        Column("difference", "difference", "Kaplan's prediction", tip="measured minus predicted loss"),
    ]
    rows = [_row(point, law) for point in points]
    page = Table("Scaling law", columns, rows, [describe_fit(points), NOTE], "No run has a validation loss to fit.")
    write_table(page, study.title, table, numbers)


def describe_fit(points: Sequence[Point]) -> str:
    """What the fit says, or why there is none."""
    own = [point for point in points if not point.published]
    law = fit(own)
    if law is None:
        return explain_unfitted(own)
    span = (
        f"over {len(own)} sizes from {short(own[0].parameters)} to {short(own[-1].parameters)} parameters without "
        "embeddings"
    )
    why = list_doubts(own, law)
    if why and is_decreasing(own):
        return f"Loss falls with every size, but there are too few points for a law {span}: {join_words(why)}."
    if why:
        return f"No trend of loss with size {span}: {join_words(why)}."
    interval = "" if law.low is None else f"95 % interval {decimal(law.low)} to {decimal(law.high)}; "
    return (
        f"Loss falls as N to the power of \N{MINUS SIGN}{law.exponent:.3f} {span} ({interval}Kaplan's exponent along "
        f"the efficient frontier is {EXPONENT:.3f})."
    )


def explain_unfitted(own: Sequence[Point]) -> str:
    """Why no power law is fitted to these points."""
    sizes = len({point.parameters for point in own})
    if sizes < LEAST:
        return f"A fit needs {LEAST} sizes or more; this study has {sizes}."
    if min(point.loss for point in own) <= 0:
        return "No power law is fitted: a loss of 0 has no logarithm."
    return "No power law is fitted: every size has the same loss."


def is_decreasing(own: Sequence[Point]) -> bool:
    """Whether every larger model has the lower loss."""
    ordered = sorted(own, key=lambda point: point.parameters)
    return all(larger.loss < smaller.loss for smaller, larger in pairwise(ordered))


def list_doubts(own: Sequence[Point], law: PowerLaw) -> list[str]:
    """Why a fit is no trend: its exponent may be zero, or a larger model has the higher loss; empty where it is one."""
    results = []
    if law.low is not None and law.high is not None and law.low <= 0 <= law.high:
        results.append(
            f"the fitted exponent of {decimal(law.exponent)} has a 95 % interval of {decimal(law.low)} to "
            f"{decimal(law.high)}, which includes 0"
        )
    for smaller, larger in pairwise(sorted(own, key=lambda point: point.parameters)):
        if larger.loss >= smaller.loss and larger.parameters > smaller.parameters:
            results.append(
                f"{larger.model} has {decimal(larger.loss)} nats where the smaller {smaller.model} has "
                f"{decimal(smaller.loss)}"
            )
    return results


def _point(name: str, model_name: str, model: Model, loss: float, published: bool = False, source: str = "") -> Point:
    shape = model.shape
    size = parameters_without_embeddings(model)
    return Point(name, model_name, size, loss, predict_kaplan(shape.layers, shape.width), published, source)


def _panel(axes: Axes, points: Sequence[Point]) -> str:
    """Draw points, fit and, where it is near, the prediction; give the remark that is beside them."""
    own = [point for point in points if not point.published]
    others = [point for point in points if point.published]
    sizes = [point.parameters for point in points]
    span = np.geomspace(0.6 * min(sizes), 1.6 * max(sizes), 50)
    losses = [point.loss for point in points]
    law = fit(own)
    remark = []
    if law:
        trend = not list_doubts(own, law)
        doubt = "" if trend else ", too few points" if is_decreasing(own) else ", no trend"
        error = "" if law.error is None else f" ± {decimal(law.error)}"
        text = f"fit: exponent {decimal(law.exponent)}{error}{doubt}"
        axes.plot(
            span, [law.loss(size) for size in span], color=style.PALETTE[0], linewidth=1.5 if trend else 0.9, label=text
        )
        losses += [law.loss(span[0]), law.loss(span[-1])]
        if not trend and is_decreasing(own):
            remark += ["Too few points for a law:", "the exponent may be zero.", ""]
        elif not trend:
            remark += ["No trend: the exponent may be zero, or", "a larger model has the higher loss.", ""]
    kaplans = [predict(size).loss for size in span]
    if max(kaplans) <= NEAR * max(losses) and min(kaplans) >= min(losses) / NEAR:
        dashes = {"linewidth": 1.2, "linestyle": (0, (5, 4)), "label": "Kaplan's prediction"}
        axes.plot(span, kaplans, color=style.FAINT, **dashes)
        losses += [kaplans[0], kaplans[-1]]
    else:
        remark += ["Kaplan's prediction is not near:", f"{kaplans[0]:.2f} to {kaplans[-1]:.2f} nats over these sizes."]
    remark += ["Kaplan's law is for web text in a BPE", "of about 50,000 tokens."]
    marks = {"zorder": 3, "linewidth": 1.5}
    for group, title, mark, face, edge in (
        (own, "measured here", "o", style.PALETTE[0], style.PALETTE[0]),
        (others, "published", "D", "white", style.PALETTE[1]),
    ):
        if group:
            x, y = [point.parameters for point in group], [point.loss for point in group]
            axes.scatter(x, y, s=46, marker=mark, facecolor=face, edgecolor=edge, label=title, **marks)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(span[0], span[-1])
    room = (max(losses) / min(losses)) ** 0.12 if max(losses) > min(losses) else 1.05
    low, high = min(losses) / room, room * max(losses)
    axes.set_ylim(low, high)
    axes.set_yticks(_ticks(low, high, (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()
    if span[-1] / span[0] < 50:
        magnitude = 10 ** math.floor(math.log10(span[-1]))
        axes.set_xticks(_ticks(span[0], span[-1], [part * magnitude for part in (0.1, 0.2, 0.5, 1.0, 2.0)]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
    colour = {True: style.PALETTE[1], False: style.INK}
    style.label_points(
        axes, [(point.parameters, point.loss, truncate(point.model, 24), colour[point.published]) for point in points]
    )
    return "\n".join(remark)


def _ticks(low: float, high: float, steps: Sequence[float]) -> list[float]:
    """Round numbers from `low` to `high`, at most eight."""
    step = next((step for step in steps if (high - low) / step <= 8), steps[-1])
    return [count * step for count in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _row(point: Point, law: PowerLaw | None) -> Row:
    predicted = point.kaplan
    cells = {
        "model": Cell(point.model, point.model, {"run": point.name}, tip=point.source),
        "parameters": Cell(short(point.parameters), point.parameters),
        "loss": Cell(decimal(point.loss), point.loss),
        "perplexity": Cell(decimal(math.exp(point.loss), 2), math.exp(point.loss)),
        "fitted": missing_cell("no fit"),
        "kaplan_loss": Cell(decimal(predicted.loss), predicted.loss),
        "kaplan_perplexity": Cell(decimal(predicted.perplexity, 2), predicted.perplexity),
        "difference": Cell(decimal(point.loss - predicted.loss), point.loss - predicted.loss),
    }
    if law:
        fitted = law.loss(point.parameters)
        cells["fitted"] = Cell(decimal(fitted), fitted, {"exponent": law.exponent, "exponent_error": law.error})
    return Row(cells, "Published" if point.published else "")


EXPONENT = 0.050 / 0.73  # of loss against parameters, along the compute-efficient frontier


@dataclass(frozen=True)
class Prediction:
    """What Kaplan et al. predict for a shape.

    Attributes:
        parameters: N, without embeddings.
        petaflop_days: the compute at which that size is efficient.
        loss: nats per token.
        perplexity: per token.
    """

    parameters: float
    petaflop_days: float
    loss: float
    perplexity: float


def predict_kaplan(layers: int, width: int) -> Prediction:
    """Loss predicted from depth and width.

    N = 12 L d^2; PFdays = (N / 1.3e9)^(1 / 0.73); loss = (3.1e8 / PFdays)^0.050;
    perplexity = e^loss. Source: Kaplan et al. 2020, "Scaling Laws for Neural Language
    Models" (arXiv:2001.08361), appendix A: size and loss along the compute-efficient
    frontier.

    Args:
        layers: number of blocks, L.
        width: of the residual stream, d.
    """
    return predict(12 * layers * width**2)


def predict(parameters: float) -> Prediction:
    """Kaplan's prediction for N parameters without embeddings."""
    petaflop_days = (parameters / 1.3e9) ** (1 / 0.73)
    loss = (3.1e8 / petaflop_days) ** 0.050
    return Prediction(parameters, petaflop_days, loss, math.exp(loss))
