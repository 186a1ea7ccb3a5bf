"""Loss against size: a power law fitted to the runs, beside Kaplan's prediction."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter
from scipy import stats

from trainyard.config.catalogue import Model
from trainyard.config.shapes import parameters_without_embeddings
from trainyard.config.study import Study
from trainyard.report import style
from trainyard.report.format import clip, fixed, short, tick
from trainyard.report.html import Cell, Column, Row, Table, missing, write_table
from trainyard.report.results import Run, read_runs

LEAST = 3
NOTE = (
    "Kaplan's prediction is for web text, a vocabulary of about 50,000 tokens and training to the compute-efficient "
    "point: on other data only the slopes compare."
)


@dataclass(frozen=True)
class Prediction:
    """What Kaplan et al. predict for a shape.

    Attributes:
        parameters: N, without embeddings.
        petaflop_days: the compute at which that size is efficient.
        loss: nats a token.
        perplexity: a token.
    """

    parameters: float
    petaflop_days: float
    loss: float
    perplexity: float


@dataclass(frozen=True)
class PowerLaw:
    """loss = (scale / N) ** exponent.

    Attributes:
        exponent: the slope on log-log axes, downwards.
        error: one standard error of the exponent.
        low: the lower end of the exponent's 95 % interval (Student's t, sizes - 2 degrees of freedom).
        high: the upper end.
        scale: the N at which the loss would be one nat.
    """

    exponent: float
    error: float
    low: float
    high: float
    scale: float

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
    kaplan: Prediction
    published: bool = False
    source: str = ""


def kaplan(layers: int, width: int) -> Prediction:
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


def fit(points: Sequence[Point]) -> PowerLaw | None:
    """Fit a power law to log loss against log N by least squares; none with fewer than three sizes."""
    sizes = {point.parameters for point in points}
    if len(sizes) < LEAST:
        return None
    x = np.log([point.parameters for point in points])
    y = np.log([point.loss for point in points])
    line: Any = stats.linregress(x, y)
    slope, intercept, error = -float(line.slope), float(line.intercept), float(line.stderr)
    half = float(stats.t.ppf(0.975, len(points) - 2)) * error
    return PowerLaw(slope, error, slope - half, slope + half, math.exp(intercept / slope))


def gather(study: Study, runs: Sequence[Run], models: Mapping[str, Model]) -> list[Point]:
    """The sizes of a study's finished runs (the lowest loss where several share a model) and published ones.

    Losses compare on one dataset and tokenizer alone: that with most sizes. A published
    result counts where it gives a loss, or a perplexity a token, for a model of the catalogue.
    """
    by_data: dict[tuple[str, str], dict[str, Point]] = {}
    for run in runs:
        best_loss = (run.summary["best"] or {}).get("validation_loss")
        loss = best_loss if best_loss is not None else run.summary["validation_loss"]
        name = run.coordinates["model"]
        if not run.finished or loss is None or name not in models:
            continue
        best = by_data.setdefault((run.coordinates["dataset"], run.tokenizer), {})
        if name not in best or loss < best[name].loss:
            best[name] = _point(run.name, name, models[name], loss)
    points = list(max(by_data.values(), key=len, default={}).values())
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
    points = gather(study, read_runs(runs), models)
    if not points:
        style.empty(output, f"No run of “{study.title}” has a validation loss to fit.")
        return
    with style.figure(output, height=4.8) as drawing:
        axes = drawing.add_axes((0.075, 0.135, 0.6, 0.77))
        _panel(axes, points)
        axes.set(
            title="Validation loss against size", xlabel="parameters without embeddings", ylabel="loss, nats a token"
        )
        axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5))


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
        Column("loss", "loss, nats", "measured, a token"),
        Column("perplexity", "perplexity", "measured, a token"),
        Column("fitted", "loss", "fitted"),
        Column("kaplan_loss", "loss", "Kaplan's prediction"),
        Column("kaplan_perplexity", "perplexity", "Kaplan's prediction"),
        Column("difference", "measured less predicted", "Kaplan's prediction"),
    ]
    rows = [_row(point, law) for point in points]
    shown = Table("Scaling law", columns, rows, [sentence(points), NOTE], "No run has a validation loss to fit.")
    write_table(shown, study.title, table, numbers)


def sentence(points: Sequence[Point]) -> str:
    """What the fit says, or why there is none."""
    own = [point for point in points if not point.published]
    law = fit(own)
    if law is None:
        return f"A fit needs {LEAST} sizes or more; this study has {len({point.parameters for point in own})}."
    return (
        f"Loss falls as N to the power of \N{MINUS SIGN}{law.exponent:.3f} over {len(own)} sizes from "
        f"{short(own[0].parameters)} to {short(own[-1].parameters)} parameters without embeddings "
        f"(95 % interval {fixed(law.low, 3)} to {fixed(law.high, 3)}; Kaplan's exponent along the efficient frontier "
        f"is {KAPLAN_EXPONENT:.3f})."
    )


KAPLAN_EXPONENT = 0.050 / 0.73


def _point(name: str, model_name: str, model: Model, loss: float, published: bool = False, source: str = "") -> Point:
    shape = model.shape
    size = parameters_without_embeddings(model)
    return Point(name, model_name, size, loss, kaplan(shape.layers, shape.width), published, source)


def _panel(axes: Axes, points: Sequence[Point]) -> None:
    own = [point for point in points if not point.published]
    others = [point for point in points if point.published]
    sizes = [point.parameters for point in points] + [point.kaplan.parameters for point in points]
    span = np.geomspace(0.7 * min(sizes), 1.4 * max(sizes), 50)
    law = fit(own)
    if law:
        text = f"fit: exponent {law.exponent:.3f} ± {law.error:.3f}"
        axes.plot(span, [law.loss(size) for size in span], color=style.PALETTE[0], linewidth=1.5, label=text)
    kaplans = [predict(size).loss for size in span]
    axes.plot(span, kaplans, color=style.FAINT, linewidth=1.2, linestyle=(0, (5, 4)), label="Kaplan's prediction")
    if own:
        axes.scatter(
            [point.parameters for point in own],
            [point.loss for point in own],
            s=52,
            color=style.PALETTE[0],
            zorder=3,
            label="measured here",
        )
    if others:
        axes.scatter(
            [point.parameters for point in others],
            [point.loss for point in others],
            s=46,
            marker="D",
            facecolor="white",
            edgecolor=style.PALETTE[1],
            linewidth=1.5,
            zorder=3,
            label="published",
        )
    for point in points:
        axes.annotate(
            clip(point.model, 24),
            (point.parameters, point.loss),
            xytext=(8, 5),
            textcoords="offset points",
            fontsize=9,
            color=style.PALETTE[1] if point.published else style.INK,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(span[0], span[-1])
    losses = [point.loss for point in points] + [kaplans[0], kaplans[-1]]
    low, high = 0.94 * min(losses), 1.06 * max(losses)
    axes.set_ylim(low, high)
    step = next(step for step in (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0) if (high - low) / step <= 8 or step == 10.0)
    axes.set_yticks(np.arange(math.ceil(low / step), math.floor(high / step) + 1) * step)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))


def _row(point: Point, law: PowerLaw | None) -> Row:
    predicted = point.kaplan
    cells = {
        "model": Cell(point.model, point.model, {"run": point.name}, tip=point.source),
        "parameters": Cell(short(point.parameters), point.parameters),
        "loss": Cell(fixed(point.loss), point.loss),
        "perplexity": Cell(fixed(math.exp(point.loss), 2), math.exp(point.loss)),
        "fitted": missing(f"a fit needs {LEAST} sizes"),
        "kaplan_loss": Cell(fixed(predicted.loss), predicted.loss),
        "kaplan_perplexity": Cell(fixed(predicted.perplexity, 2), predicted.perplexity),
        "difference": Cell(fixed(point.loss - predicted.loss), point.loss - predicted.loss),
    }
    if law:
        fitted = law.loss(point.parameters)
        cells["fitted"] = Cell(fixed(fitted), fitted, {"exponent": law.exponent, "exponent_error": law.error})
    return Row(cells, "Published" if point.published else "")
