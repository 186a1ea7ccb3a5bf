"""The one table of a study: every run, what it cost and how good it came out."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from trainyard.config.settings import ENERGY, Energy
from trainyard.config.study import Study
from trainyard.config.train import Train, rows_per_step
from trainyard.core.code_versions import trained_by, with_commits
from trainyard.core.errors import shorten
from trainyard.hardware.peak_flops import compute_mfu
from trainyard.metrics import METRICS, SCORES
from trainyard.report.pages.cells import SEEDS, outcome_cell, score_cell, spread_cell, verdict_cell
from trainyard.report.pages.energy import energy_cell
from trainyard.report.pages.truncation import MOST, describe_cuts
from trainyard.report.render.format import (
    SHORT_TITLES,
    TABLE_SCORES,
    TITLES,
    decimal,
    duration,
    join_words,
    plural,
    short,
    size,
)
from trainyard.report.render.html import Cell, Column, Row, Table, missing_cell, write_table
from trainyard.report.results.contamination import Overlap, describe_overlaps, read_overlaps
from trainyard.report.results.measurements import describe_peak
from trainyard.report.results.probes import read_comparisons
from trainyard.report.results.published import PUBLISHED, published_row
from trainyard.report.results.runs import (
    Evaluation,
    Run,
    add_up_generation,
    model_labels,
    read_all,
    read_evaluations,
    read_runs,
    run_labels,
    varying_coordinates,
)
from trainyard.report.statistics.energy import read_usage
from trainyard.report.statistics.levels import is_guessing
from trainyard.report.statistics.paired_tests import CORRECT, UNITS
from trainyard.report.statistics.pairwise import WITHIN, compare_configurations, compare_models, describe_pair
from trainyard.report.statistics.seeds import Configuration, group_configurations, summarise_seeds

BASELINES = "Baselines on the same rows"
ByModel = dict[tuple[str, str], dict[str, Evaluation]]
"""The evaluations of each run's or pretrained model's checkpoint, by their names."""
Scored = tuple[Row, dict[str, Evaluation]]
"""A row, and the evaluations that its scores are from."""
ROUGH = 50  # rows
NOTES = [
    "± is one standard error, [a, b] a 95 % interval; “chance” marks accuracies that the exact binomial test can't "
    "tell from it. Hover over a value for protocol, number of items and settings.",
    "The best of each column is bold; a dotted line marks what is within noise of it: a paired test on the same items "
    "can't tell them apart (p of 0.05 or more, by Holm's correction for all tests of the column), or, without such a "
    "test, they lie within two combined standard errors. Hover over a score for its difference from the best; every "
    "pair is in the table of paired differences. "
    "Losses are ranked only on the same dataset and tokenizer, perplexities per token only with the same tokenizer.",
    "Speed and MFU marked “shared” were taken while other jobs ran: compare them in the table of speed and memory.",
]


def tabulate(
    study: Study,
    *,
    runs: Sequence[Path],
    evaluations: Sequence[Path],
    parity: Sequence[Path],
    contamination: Sequence[Path] = (),
    peaks: Sequence[Path] = (),
    energy: Energy = ENERGY,
    table: Path,
    numbers: Path,
) -> None:
    """Write the comparison of a study's runs as HTML and CSV.

    Args:
        study: gives the title and the published results.
        runs: folders with spec.json and summary.json.
        evaluations: evaluation files of runs and of pretrained models.
        parity: parity.json of the probes.
        contamination: contamination/*/*.json.
        peaks: peaks/*.json.
        energy: watts, and the grid.
        table: the HTML page.
        numbers: the CSV.
    """
    loaded_evaluations = read_evaluations(evaluations)
    compared = compare(
        study,
        read_runs(runs),
        loaded_evaluations,
        read_comparisons(parity),
        read_overlaps(contamination),
        read_all(peaks),
        energy,
    )
    write_table(compared, study.title, table, numbers)


def compare(
    study: Study,
    runs: Sequence[Run],
    evaluations: Sequence[Evaluation],
    parity: Sequence[dict[str, Any]],
    overlaps: Sequence[Overlap] = (),
    peaks: Sequence[dict[str, Any]] = (),
    energy: Energy = ENERGY,
) -> Table:
    """The comparison as a table: a row for each run and evaluated checkpoint, baselines and published rows apart."""
    by_model: ByModel = {}
    groups: dict[str, Evaluation] = {}
    for evaluation in evaluations:
        by_model.setdefault((evaluation.run, evaluation.checkpoint), {})[evaluation.raw["evaluation"]] = evaluation
        if evaluation.scores or evaluation.raw["evaluation"] not in groups:
            groups[evaluation.raw["evaluation"]] = evaluation
    trained, pretrained = _trained_rows(runs, by_model, parity, peaks, energy), _pretrained_rows(runs, by_model)
    _compare_with_best([*trained, *pretrained], runs)
    over_seeds = _over_seeds(group_configurations(runs), evaluations)
    rows = [*over_seeds, *(row for row, _ in [*trained, *pretrained])]
    rows += _baselines(groups)
    rows += [published_row(entry, groups) for entry in study.published if entry.cell is None]
    varied = varying_coordinates(runs)
    names = list(dict.fromkeys(["model", *varied, "parallel", "precision"]))
    finished = not pretrained and all(run.finished for run in runs)
    columns, repeats = _without_repeats(_columns(names, varied, groups, rows, finished), rows)
    shared = [name for name in names if name not in ("model", *varied)]
    notes = [
        *_notes(runs, shared, finished),
        *_describe_early_stops(runs),
        *_mixed(runs),
        *describe_cuts(runs, evaluations),
        *_describe_rough(evaluations),
        *describe_overlaps(overlaps),
        *repeats,
    ]
    if over_seeds:
        notes.insert(0, "Configurations are ranked by their means over seeds; single seeds are not.")
    competing = SEEDS if over_seeds else ""
    return Table("Comparison of runs", columns, rows, notes, "This study has no runs.", competing, "Each run")


def _describe_rough(evaluations: Sequence[Evaluation]) -> list[str]:
    """Which intervals are rough: a bootstrap of few rows knows no score that is rarer than they are."""
    few = dict.fromkeys(
        (TITLES[METRICS[each.metric].headline], each.title, each.raw["n"])
        for each in evaluations
        if 1 < each.raw["n"] < ROUGH and METRICS[each.metric].headline not in (*CORRECT, *UNITS)
    )
    return [
        f"{title} has only {n} rows (fewer than {ROUGH}), so intervals of {name} and scores like it are rough."
        for name, title, n in few
    ]


def _trained_rows(
    runs: Sequence[Run],
    by_model: ByModel,
    parity: Sequence[dict[str, Any]],
    peaks: Sequence[dict[str, Any]],
    energy: Energy,
) -> list[Scored]:
    """A row for each evaluated checkpoint of each run; one for a run of which none is."""
    labels = run_labels(runs, {run.name for run in runs})
    scored: list[Scored] = []
    for run in runs:
        checkpoints = [checkpoint for name, checkpoint in by_model if name == run.name] or [""]
        for checkpoint in checkpoints:
            origin = "; ".join(filter(None, [f"{run.name}: {run.folder}", with_commits(run.code_versions)]))
            cells = {"run": Cell(labels[run.name], run.name, tip=origin)}
            cells |= _run_cells(run, checkpoint, peaks) | _parity_cell(run, parity)
            if usage := read_usage(run, energy):
                cells["kwh"] = energy_cell(usage.consumption, usage.reason)
            evaluations_here = by_model.get((run.name, checkpoint), {})
            cells |= _generation_cells(evaluations_here)
            scored.append((Row(cells | _scores(evaluations_here, run.tokenizer)), evaluations_here))
    return scored


def _pretrained_rows(runs: Sequence[Run], by_model: ByModel) -> list[Scored]:
    """A row for each evaluated model that is of no run."""
    known = {run.name for run in runs}
    scored: list[Scored] = []
    for (name, checkpoint), evaluations_here in by_model.items():
        if name not in known:
            cells = {key: Cell(name, name) for key in ("run", "model")}
            cells["checkpoint"] = Cell(checkpoint, checkpoint)
            cells |= _generation_cells(evaluations_here)
            cells["outcome"] = Cell("evaluated", "evaluated", tip="evaluated as is, not trained here", kind="plain")
            tokenizer = next((run.tokenizer for run in runs if run.coordinates["model"] == name), name)
            scored.append((Row(cells | _scores(evaluations_here, tokenizer)), evaluations_here))
    return scored


def _notes(runs: Sequence[Run], shared: Sequence[str], finished: bool) -> list[str]:
    """What all runs have in common, and how to read the table."""
    alike = [f"{name} {run.coordinates[name]}" for run in runs[:1] for name in shared]
    alike += ["outcome finished"] if runs and finished else []
    return [f"All runs: {', '.join(alike)}.", *NOTES] if alike else NOTES


def _describe_early_stops(runs: Sequence[Run]) -> list[str]:
    """Which runs ended before their planned last step, and about how much time that saved."""
    labels, said = run_labels(runs, {run.name for run in runs}), []
    for run in runs:
        if run.stopped_early:
            done, planned = run.summary["steps"], run.summary["planned_steps"]
            saved = duration(run.summary["elapsed_seconds"] * (planned - done) / done)
            said.append(f"{labels[run.name]} at step {done:,} of {planned:,} (about {saved} saved)")
    if not said:
        return []
    return [f"Stopped early, since validation no longer improved: {join_words(shorten(said, 'more runs', MOST))}."]


def _mixed(runs: Sequence[Run]) -> list[str]:
    """Which runs went on under other code than they had begun with: their figures are of no one version."""
    labels = run_labels(runs, {run.name for run in runs})
    said = [f"{labels[run.name]}: {words}" for run in runs if (words := trained_by(run.code_versions))]
    return [f"{'; '.join(shorten(said, 'more runs', MOST))}. Point at the run for the commits."] if said else []


def _without_repeats(columns: Sequence[Column], rows: Sequence[Row]) -> tuple[list[Column], list[str]]:
    """The columns, those that repeat their neighbour in the CSV only, and the notes that say so."""
    repeated = [
        (one, other) for one, other in itertools.pairwise(columns) if other.shown and _repeats(one, other, rows)
    ]
    hidden = {other.key for _, other in repeated}
    notes = [f"{other.title} equals {one.title} in every row; the CSV has it." for one, other in repeated]
    return [replace(column, shown=column.shown and column.key not in hidden) for column in columns], notes


def _repeats(first: Column, second: Column, rows: Sequence[Row]) -> bool:
    """Whether two columns of one evaluation hold the same numbers: acc_norm where all endings are of one length."""
    if not first.group or first.group != second.group or first.best is None or ":" not in first.key:
        return False
    values = [
        [row.cells[column.key].value if column.key in row.cells else None for column in (first, second)] for row in rows
    ]
    return all(one == other for one, other in values) and any(one is not None for one, _ in values)


def _run_cells(run: Run, checkpoint: str, peaks: Sequence[dict[str, Any]]) -> dict[str, Cell]:
    summary = run.summary
    cells = {name: Cell(value, value) for name, value in run.coordinates.items()}
    cells["checkpoint"] = Cell(checkpoint, checkpoint) if checkpoint else missing_cell("nothing was evaluated")
    cells["outcome"] = outcome_cell(summary["outcome"], summary["reason"])
    rivals = f"{run.coordinates['dataset']}/{run.tokenizer}" if run.finished else run.name
    best = summary["best"]
    tips = {
        "training_loss": f"mean of the last ten of {summary['steps']} steps",
        "validation_loss": f"lowest: {decimal(best['validation_loss'])} at step {best['step']}" if best else "",
    }
    for key, tip in tips.items():
        if summary[key] is None:
            cells[key] = missing_cell(summary["reason"] or "not measured")
        else:
            kind = "" if run.finished else "muted"
            cells[key] = Cell(decimal(summary[key]), summary[key], tip=tip, kind=kind, rivals=rivals)
    speed = summary["tokens_per_second"]
    timing = summary["timing"]
    if speed is not None:
        tip = f"median step without warm-up; {duration(summary['elapsed_seconds'])} overall"
        cells["tokens_per_second"] = Cell(decimal(speed, 0), speed, {"timing": timing}, tip, "muted", detail=timing)
        rows = rows_per_step(Train.model_validate(run.specification["train"])) / summary["step_seconds"]["median"]
        text = decimal(rows, 0 if rows >= 100 else 2)
        cells["samples_per_second"] = Cell(text, rows, {"timing": timing}, tip, "muted", detail=timing)
    if computed := summary.get("computed_tokens"):
        padding = summary["padding_tokens"]
        cells["computed_tokens"] = Cell(short(computed), computed, tip=f"{computed:,}")
        cells["padding"] = Cell(decimal(100 * padding / computed, 1), padding / computed, tip=f"{padding:,} positions")
    if trained := summary["trained_parameters"]:
        whole = summary["parameters"]
        cells["trained_parameters"] = Cell(short(trained), trained, {"all": whole}, tip=f"{trained:,} of {whole:,}")
    device = summary["peak_device_memory"]
    memory = summary["peak_host_memory"] if device is None else device
    if memory is not None:
        of, tip = "device", "device memory, largest over processes"
        if device is None:
            of, tip = "host", "host memory with the copy of a checkpoint, largest over processes"
        cells["peak_memory"] = Cell(size(memory), memory, {"kind": of}, tip=tip)
    if mfu := _mfu_cell(run, peaks):
        cells["mfu"] = mfu
    return cells


def _generation_cells(evaluations: dict[str, Evaluation]) -> dict[str, Cell]:
    """How fast the model generated, over all of its evaluations that do."""
    timed = add_up_generation(evaluations.values())
    if timed is None:
        return {}
    seconds, padding = timed["timed_seconds"], timed["source_padding"] / timed["source_positions"]
    left_out = "; ".join(each.generation["left_out"] for each in evaluations.values() if each.generation)
    cells: dict[str, Cell] = {}
    for name, unit in (("generation_samples_per_second", "rows"), ("generated_tokens_per_second", "tokens")):
        rate = timed[f"timed_{unit}"] / seconds
        tip = f"{timed[f'timed_{unit}']:,} {unit} in {duration(seconds)}, without {left_out}"
        tip += f"; {100 * padding:.0f} % of the sources' positions are padding"
        more = {"timing": "shared", "source_padding": padding}
        cells[name] = Cell(decimal(rate, 0 if rate >= 100 else 2), rate, more, tip, "muted", detail="shared")
    return cells


def _mfu_cell(run: Run, peaks: Sequence[dict[str, Any]]) -> Cell | None:
    """The share of the peak of its device, precision and threads, where both are known."""
    summary, keys = run.summary, ("device", "precision", "threads")
    peak = next((peak for peak in peaks if all(peak[key] == run.specification[key] for key in keys)), None)
    speed, per_token = summary["tokens_per_second"], summary["flops_per_token"]
    flops = speed * per_token / run.specification["processes"] if speed and per_token else None
    found = compute_mfu(flops, summary["device_name"], peak)
    if found["mfu"] is None:
        return missing_cell(found["mfu_reason"]) if found["mfu_reason"] else None
    tip = f"{summary['mfu_formula']}; {describe_peak(found)}"
    timing = {"timing": summary["timing"]}
    return Cell(f"{100 * found['mfu']:.1f}", found["mfu"], timing, tip, "muted", detail=summary["timing"])


def _parity_cell(run: Run, parity: Sequence[dict[str, Any]]) -> dict[str, Cell]:
    """The verdict on the run's parallel setting in its precision, by the probe of its own model where there is one."""
    coordinates = run.coordinates
    fitting = [probe for probe in parity if all(probe[key] == coordinates[key] for key in ("parallel", "precision"))]
    if not fitting:
        return {"parity": missing_cell("no probe of this parallel setting in this precision")}
    probe = next((probe for probe in fitting if probe["model"] == coordinates["model"]), fitting[0])
    both = [other for other in fitting if other["probe"] == probe["probe"]]
    return {
        "parity": verdict_cell(min(both, key=lambda each: (each["within"] is not False, each["against"] == "fp32")))
    }


def _scores(evaluations: dict[str, Evaluation], tokenizer: str) -> dict[str, Cell]:
    cells = {}
    for group, evaluation in evaluations.items():
        scores = evaluation.scores
        for name in TABLE_SCORES[evaluation.metric]:
            if name not in scores:
                cells[f"{group}:{name}"] = missing_cell(evaluation.reason_for(name))
                continue
            tip = describe(evaluation)
            rivals = tokenizer if SCORES[name].unit == "tokens" else ""
            remark = ""
            if left_out := evaluation.raw["settings"].get("unscored_items"):
                # on other items than the others it doesn't compete
                rivals, remark = evaluation.run, f"{left_out:,} left out"
            chance = METRICS[evaluation.metric].chance
            if chance is not None and is_guessing(scores[name], evaluation.raw["n"], chance):
                remark, tip = "chance", f"not to be told from chance; {tip}"
            cells[f"{group}:{name}"] = score_cell(name, scores[name], rivals, tip, remark, n=evaluation.raw["n"])
    return cells


def _compare_with_best(scored: Sequence[Scored], runs: Sequence[Run]) -> None:
    """Let each score say whether a paired test can tell it from the best of its rivals."""
    columns: dict[tuple[str, str], list[tuple[Row, str, Evaluation]]] = {}
    for row, found in scored:
        for group, evaluation in found.items():
            for name in evaluation.scores.keys() & set(TABLE_SCORES[evaluation.metric]):
                key = f"{group}:{name}"
                columns.setdefault((key, row.cells[key].rivals), []).append((row, name, evaluation))
    for (key, _), rivals in columns.items():
        group = [evaluation for _, _, evaluation in rivals]
        names = model_labels(runs, group)
        tested = compare_models(group, rivals[0][1])
        for pair in tested:
            if pair.first == tested[0].first:
                cells = rivals[pair.second][0].cells
                noise = None if pair.p is None else pair.verdict == WITHIN
                tip = f"{names[pair.first]} against this: {describe_pair(rivals[0][1], pair)}\n{cells[key].tip}"
                cells[key] = replace(cells[key], noise=noise, tip=tip)


def _over_seeds(groups: Sequence[Configuration], evaluations: Sequence[Evaluation]) -> list[Row]:
    """A row for each configuration and checkpoint: mean and standard deviation over seeds."""
    rows: dict[tuple[str, str], Row] = {}
    figures = summarise_seeds(groups, evaluations)
    for figure in sorted(figures, key=lambda figure: not figure.checkpoint):  # losses are in every row there is
        tested = {pair.second: pair for pair in compare_configurations(figure) if pair.first == figure.ranking[0]}
        best = figure.configurations[figure.ranking[0]].label
        for index, (configuration, values) in enumerate(zip(figure.configurations, figure.values, strict=True)):
            tip = f"{best} against this: {describe_pair(figure.name, tested[index])}" if index in tested else ""
            key = f"{figure.evaluation}:{figure.name}" if figure.evaluation else figure.name
            own = [checkpoint for label, checkpoint in rows if label == configuration.label]
            for checkpoint in [figure.checkpoint] if figure.checkpoint else own or [""]:
                row = rows.setdefault((configuration.label, checkpoint), Row(_place(configuration, checkpoint), SEEDS))
                row.cells[key] = spread_cell(figure.name, values, tip)
    return list(rows.values())


def _place(configuration: Configuration, checkpoint: str) -> dict[str, Cell]:
    """What the runs of a configuration share, and their seeds."""
    first = configuration.runs[0]
    seeds = ", ".join(run.coordinates["seed"] for run in configuration.runs)
    cells = {name: Cell(value, value) for name, value in first.coordinates.items()}
    cells["seed"] = Cell(seeds, seeds)
    if checkpoint:
        cells["checkpoint"] = Cell(checkpoint, checkpoint)
    number = plural(len(configuration.runs), "seed")
    return cells | {"run": Cell(configuration.label, f"{configuration.label}, {number}", detail=number)}


def describe(evaluation: Evaluation) -> str:
    """Protocol, number of items and settings of an evaluation in one line."""
    settings = ", ".join(
        f"{key} {value}" for key, value in evaluation.raw["settings"].items() if isinstance(value, str | int | float)
    )
    return f"n = {evaluation.raw['n']:,}; {evaluation.raw['protocol']}; {settings}"


def _baselines(groups: dict[str, Evaluation]) -> list[Row]:
    rows: dict[str, Row] = {}
    for group, evaluation in groups.items():
        for name, scores in evaluation.baselines.items():
            row = rows.setdefault(name, Row({"run": Cell(name, name)}, BASELINES))
            row.cells |= {f"{group}:{key}": score_cell(key, value) for key, value in scores.items()}
    return list(rows.values())


def _columns(
    names: Sequence[str], varied: Sequence[str], groups: dict[str, Evaluation], rows: Sequence[Row], finished: bool
) -> list[Column]:
    """The columns that have something to show; what all runs share, and what is seldom asked for, in the CSV only."""
    columns = [*_coordinate_columns(names, varied, rows, finished), *_score_columns(groups), *_cost_columns(rows)]
    used = {key for row in rows for key, cell in row.cells.items() if cell.value is not None}
    always = {"run", *names, "outcome", "training_loss"}
    used |= {column.key for column in columns if column.key.partition(":")[0] in groups}
    return [column for column in columns if column.key in used | always]


def _coordinate_columns(
    names: Sequence[str], varied: Sequence[str], rows: Sequence[Row], finished: bool
) -> Iterator[Column]:
    """Which run and which of its models a row is about, and how the run ended."""
    yield Column("run", "run", text=True)
    # a label that is the model's name makes the model's own column superfluous on the page
    plain = all(row.cells["run"].text == row.cells["model"].text for row in rows if "model" in row.cells)
    for name in names:
        is_shown = not plain if name == "model" else name in varied
        yield Column(name, name, text=name not in ("processes", "seed"), shown=is_shown)
    if len({row.cells["checkpoint"].value for row in rows if "checkpoint" in row.cells}) > 1:
        yield Column("checkpoint", "checkpoint", text=True, tip="which of the run's models was evaluated")
    yield Column("outcome", "outcome", text=True, shown=not finished)


def _score_columns(groups: dict[str, Evaluation]) -> Iterator[Column]:
    """Losses, the scores of each evaluation, and those that were published by other protocols."""
    yield Column("training_loss", "training", "loss, nats per token", "low")
    yield Column("validation_loss", "validation", "loss, nats per token", "low")
    for group, evaluation in groups.items():
        best = METRICS[evaluation.metric].best
        for name in TABLE_SCORES[evaluation.metric]:
            yield Column(f"{group}:{name}", SHORT_TITLES[name], evaluation.title, best, shown=SCORES[name].shown)
    tip = "not comparable with the columns above"
    for name in itertools.chain.from_iterable(TABLE_SCORES.values()):
        yield Column(f":{name}", SHORT_TITLES[name], "published, another protocol", tip=tip)


def _cost_columns(rows: Sequence[Row]) -> Iterator[Column]:
    """What a run cost, how its parallel setting agrees with the reference, and where others' figures are from."""
    yield Column("tokens_per_second", "tokens/s", "cost")
    yield Column("computed_tokens", "computed", "cost", tip="positions of sources and targets, padding included")
    yield Column("padding", "padding %", "cost", tip="of the computed positions")
    published = any(row.section == PUBLISHED and "samples_per_second" in row.cells for row in rows)
    generated = any(row.section != PUBLISHED and "generation_samples_per_second" in row.cells for row in rows)
    yield Column("samples_per_second", "samples/s", "cost", shown=published or generated)
    if generated:
        tip = "without the first batch of each process: hover over a value"
        yield Column("generation_samples_per_second", "samples/s", "generation", tip=tip)
        yield Column("generated_tokens_per_second", "tokens/s", "generation", tip=f"up to the end token, {tip}")
    cells = [row.cells["trained_parameters"] for row in rows if "trained_parameters" in row.cells]
    frozen = any(cell.value != cell.more["all"] for cell in cells)
    yield Column("trained_parameters", "trained", "cost", tip="parameters that are not frozen", shown=frozen)
    yield Column("peak_memory", "peak memory", "cost")
    yield Column("kwh", "kWh", "cost", tip="of the training, by a counter or a model: the page of energy has more")
    yield Column("mfu", "MFU %", "cost", tip="share of the peak: hover over a value for formula and peak")
    yield Column("parity", "parity", "against the reference", tip="largest difference in loss from the reference")
    yield Column("source", "source", "published", text=True)
