"""Loss against size: a power law fitted to the runs, beside Kaplan's prediction."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

from trainyard.config.catalogue import Model
from trainyard.config.study import Study
from trainyard.estimate.kaplan import EXPONENT, Prediction, predict, predict_shape
from trainyard.estimate.parameters import parameters_without_embeddings
from trainyard.report.pages.compute_optimal import describe_law
from trainyard.report.render import style
from trainyard.report.render.format import decimal, join_words, short, tick, truncate
from trainyard.report.render.html import Cell, Column, Row, Table, missing_cell, write_table
from trainyard.report.results.published import published_loss
from trainyard.report.results.runs import Run, read_runs
from trainyard.report.statistics.paired_tests import PairedTest, holm
from trainyard.report.statistics.pairwise import SIGNIFICANT, describe_p_value
from trainyard.report.statistics.power_law import FEWEST_SIZES, PowerLaw, fit
from trainyard.report.statistics.recipes import RecipeTest
from trainyard.report.statistics.seeds import headline
from trainyard.report.statistics.validation import compare_validation, compare_validation_of_recipes

NEAR = 1.25  # Kaplan's prediction is drawn where it lies within this factor of the losses
NOTE = (
    "Kaplan's law is for web text in a BPE of about 50,000 tokens, trained to the compute-efficient point: on other "
    "data or with another tokenizer its losses don't apply, only the slopes compare."
)


@dataclass(frozen=True)
class Point:
    """One size: measured or published.

    Attributes:
        name: of the run, or of the middle one of its seeds.
        model: its name in the catalogue.
        parameters: without embeddings.
        loss: validation loss in nats per token, a mean over the seeds.
        kaplan: what Kaplan et al. predict for the shape.
        runs: every seed's.
        among: how many configurations it is the best of.
        published: whether it is somebody else's.
        source: whose.
    """

    name: str
    model: str
    parameters: int
    loss: float
    kaplan: Prediction
    runs: tuple[str, ...] = ()
    among: int = 1
    published: bool = False
    source: str = ""


def gather(study: Study, runs: Sequence[Run], models: Mapping[str, Model]) -> list[Point]:
    """The sizes of a study's finished runs and published ones.

    Where several runs share a model, the configuration of the lowest mean over seeds stands for it, with its mean.

    Losses compare on one dataset and tokenizer alone: that with most sizes. A published
    result counts where it gives a loss per token, or a score that is one in another form, for a model of the catalogue.
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
        seeds = tuple(losses[place][0] for place in head.places)
        loss, run = fmean(head.values), losses[head.place][0]
        points.append(_point(run, name, models[name], loss, runs=seeds, among=head.among))
    for entry in study.published:
        loss = published_loss(entry)
        if loss is not None and entry.model in models:
            own = models[entry.model]
            points.append(_point(entry.model, entry.model, own, loss, published=True, source=entry.source))
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


def tabulate(
    study: Study,
    *,
    runs: Sequence[Path],
    models: Mapping[str, Model],
    table: Path,
    numbers: Path,
) -> None:
    """Write measured, fitted and predicted losses as HTML and CSV.

    Args:
        study: gives the title and the published results.
        runs: folders with spec.json, summary.json and validation.parquet, which tells how certain a step between sizes
            is.
        models: the catalogue.
        table: the HTML page.
        numbers: the CSV.
    """
    known = read_runs(runs)
    points = gather(study, known, models)
    law = fit_points(points)
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
    notes = [*describe_sizes(points, known), *describe_law(known, models), NOTE]
    page = Table("Scaling law", columns, rows, notes, "No run has a validation loss to fit.")
    write_table(page, study.title, table, numbers)


def fit_points(points: Sequence[Point]) -> PowerLaw | None:
    """The law of what was measured here, if it determines one; a loss of zero or infinity has no logarithm."""
    own = [point for point in points if not point.published]
    if not all(0 < point.loss < math.inf for point in own):
        return None
    return fit([point.parameters for point in own], [point.loss for point in own])


def describe_sizes(points: Sequence[Point], runs: Sequence[Run]) -> list[str]:
    """Whether loss falls with size, by tests of neighbouring sizes; and by what law, if there are sizes enough."""
    by_size: dict[int, list[Point]] = {}
    for point in points:
        if not point.published:
            by_size.setdefault(point.parameters, []).append(point)
    own = [_best_of_size(group) for _, group in sorted(by_size.items())]
    if len(own) < 2:
        return [f"Loss against size needs 2 sizes or more; this study has {len(own)}."]
    span = (
        f"over {len(own)} sizes from {short(own[0].parameters)} to {short(own[-1].parameters)} parameters without "
        "embeddings"
    )
    return [_describe_trend(own, {run.name: run for run in runs}, span), _describe_law(points, own)]


def _best_of_size(group: Sequence[Point]) -> Point:
    """Of several models of one size the best one stands for it."""
    best = min(group, key=lambda point: point.loss)
    return replace(best, among=sum(point.among for point in group))


def _describe_trend(own: Sequence[Point], runs: Mapping[str, Run], span: str) -> str:
    steps = [_Step(smaller, larger, _compare(smaller, larger, runs)) for smaller, larger in pairwise(own)]
    adjusted = iter(holm([min(1.0, step.tests * step.test.p) for step in steps if not isinstance(step.test, str)]))
    values = [None if isinstance(step.test, str) else next(adjusted) for step in steps]
    described = [_describe_step(step, p) for step, p in zip(steps, values, strict=True)]
    against = [text for text, step in zip(described, steps, strict=True) if not step.falls]
    if against:
        return f"Loss does not fall with every size {span}: {join_words(against)}."
    unsure = [
        text
        for text, step, p in zip(described, steps, values, strict=True)
        if p is None or p >= SIGNIFICANT or not step.agrees
    ]
    if unsure:
        return (
            f"Loss falls with every size {span}, but not each step is known to be beyond noise: {join_words(unsure)}."
        )
    tests = dict.fromkeys(f"{step.test.test} on validation rows" for step in steps if not isinstance(step.test, str))
    largest = describe_p_value(max(p for p in values if p is not None))
    chosen = ", corrected for choosing the best of several of one size" if any(step.tests > 1 for step in steps) else ""
    return (
        f"Loss falls with every size {span}, each step beyond noise ({join_words(list(tests))}; largest "
        f"{largest}{chosen})."
    )


@dataclass(frozen=True)
class _Step:
    """Two neighbouring sizes, with the test of the smaller one's loss minus the larger one's, or why there is none.

    Attributes:
        smaller: the one.
        larger: the other.
        test: on the rows that both were validated on.
    """

    smaller: Point
    larger: Point
    test: PairedTest | RecipeTest | str

    @property
    def tests(self) -> int:
        """How many pairs the two are chosen from, as the best configurations of their sizes."""
        return self.smaller.among * self.larger.among

    @property
    def falls(self) -> bool:
        return self.larger.loss < self.smaller.loss

    @property
    def agrees(self) -> bool:
        """Whether the test's difference has the sign of the validation losses'."""
        return not isinstance(self.test, str) and (self.test.difference > 0) == self.falls


def _compare(smaller: Point, larger: Point, runs: Mapping[str, Run]) -> PairedTest | RecipeTest | str:
    """The test over seeds and rows where both sizes have several seeds, or of the run that stands for each."""
    if lacking := [name for name in (*smaller.runs, *larger.runs) if name not in runs]:
        return f"{lacking[0]} is not among the runs"
    if len(smaller.runs) > 1 and len(larger.runs) > 1:
        first, second = ([runs[name] for name in point.runs] for point in (smaller, larger))
        return compare_validation_of_recipes(first, second, "best")
    return compare_validation(runs[smaller.name], runs[larger.name])


def _describe_step(step: _Step, p: float | None) -> str:
    smaller, larger = step.smaller, step.larger
    digits = 3 if abs(smaller.loss - larger.loss) >= 1e-3 else 5
    text = (
        f"{larger.model} has {decimal(larger.loss, digits)} nats where the smaller {smaller.model} has "
        f"{decimal(smaller.loss, digits)}"
    )
    if isinstance(step.test, str) or p is None:
        return f"{text} (not tested: {step.test})"
    verdict = "within noise" if p >= SIGNIFICANT else "beyond noise" if step.agrees else "beyond noise the other way"
    return f"{text} ({verdict} on validation rows: {describe_p_value(p)}, {step.test.test})"


def _describe_law(points: Sequence[Point], own: Sequence[Point]) -> str:
    kaplan = f"Kaplan's exponent along the efficient frontier is {EXPONENT:.3f}"
    if not all(0 < point.loss < math.inf for point in own):
        return "No slope is given: a loss is zero or not finite."
    if law := fit_points(points):
        ends = (
            f"95 % interval {decimal(law.low)} to {decimal(law.high)}"
            if law.low is not None and law.high is not None
            else f"{decimal(law.high)} at most"
            if law.high is not None
            else f"{decimal(law.low)} at least"
            if law.low is not None
            else "these sizes hardly determine it"
        )
        floor = f"E = {decimal(law.floor)} nats" if law.floor > 1e-3 else "no floor E above zero"
        return f"The law L(N) = E + A / N^a fits with a = {law.exponent:.3f} ({ends}) and {floor}; {kaplan}."
    slopes = [
        math.log(larger.loss / smaller.loss) / math.log(larger.parameters / smaller.parameters)
        for smaller, larger in pairwise(own)
    ]
    text = f"From size to size loss goes as N to the power of {join_words([decimal(slope) for slope in slopes])}"
    why = (
        f"a law takes {FEWEST_SIZES} sizes, and this study has {len(own)}"
        if len(own) < FEWEST_SIZES
        else "they don't determine a law"
    )
    return f"{text}; {why} ({kaplan})."


def _point(name: str, model_name: str, model: Model, loss: float, **more: Any) -> Point:
    kaplan = predict_shape(model.shape.layers, model.shape.width)
    return Point(name, model_name, parameters_without_embeddings(model), loss, kaplan, **more)


def _panel(axes: Axes, points: Sequence[Point]) -> str:
    """Draw points, fit and, where it is near, the prediction; give the remark that is beside them."""
    own = [point for point in points if not point.published]
    others = [point for point in points if point.published]
    sizes = [point.parameters for point in points]
    span = np.geomspace(0.6 * min(sizes), 1.6 * max(sizes), 50)
    losses = [point.loss for point in points]
    law = fit_points(own)
    remark = []
    if law:
        text = f"fit: E + A / N^a, a = {decimal(law.exponent)}"
        axes.plot(span, [law.loss(size) for size in span], color=style.PALETTE[0], linewidth=1.5, label=text)
        losses += [law.loss(span[0]), law.loss(span[-1])]
    else:
        axes.plot(
            *zip(*((point.parameters, point.loss) for point in own), strict=True), color=style.PALETTE[0], linewidth=0.9
        )
        few = len({point.parameters for point in own}) < FEWEST_SIZES
        remark += [f"A law takes {FEWEST_SIZES} sizes." if few else "These sizes don't determine a law.", ""]
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
        cells["fitted"] = Cell(decimal(fitted), fitted, {"exponent": law.exponent, "low": law.low, "high": law.high})
    return Row(cells, "Published" if point.published else "")
