"""The one table of a study: every run, what it cost and how good it came out."""

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from trainyard.config.study import Published, Study
from trainyard.report.format import PERCENT, TITLES, clip, counted, duration, fixed, score, size
from trainyard.report.html import Cell, Column, Row, Table, missing, write_table
from trainyard.report.overlap import Overlap, read_overlaps, remarks
from trainyard.report.pairs import WITHIN, pairs, pairs_over_seeds, told
from trainyard.report.results import (
    Evaluation,
    Run,
    guesses,
    model_labels,
    read_all,
    read_evaluations,
    read_runs,
    run_labels,
    varying,
)
from trainyard.report.seeds import Configuration, configurations, repeated
from trainyard.report.table_cells import SEEDS, outcome_cell, score_cell, spread_cell, verdict

PUBLISHED = "Published by others, as their sources state them"
BASELINES = "Baselines on the same rows"
SHOWN = {
    "perplexity": ("perplexity_token", "perplexity_word", "perplexity_byte"),
    "hellaswag": ("acc", "acc_norm"),
    "rouge": ("rouge1", "rouge2", "rougeL", "rougeLsum"),
}
SELDOM = frozenset({"perplexity_byte"})  # on the page they would push other columns out of sight
SHORT_TITLES = {
    **TITLES,
    "perplexity_token": "ppl/token",
    "perplexity_word": "ppl/word",
    "perplexity_byte": "ppl/byte",
    "acc": "acc %",
    "acc_norm": "acc_norm %",
}
FIGURES = {
    "training_loss": "training_loss",
    "validation_loss": "validation_loss",
    "tokens_per_second": "tokens_per_second",
    "samples_per_second": "samples_per_second",
    "peak_memory_gb": "peak_memory",
    "energy_kwh": "energy_kwh",
}
NOTES = [
    "± is one standard error, [a, b] a 95 % interval; “chance” marks accuracies within two errors of it. "
    "Point at a value for protocol, number of items and settings.",
    "Bold is the best of its column; a dotted line marks what lies within noise of it: a paired test on the same items "
    "can't tell them apart (p of 0.05 or more, by Holm's correction for all tests of the column), or, without such a "
    "test, they lie within two combined standard errors. Point at a score for its difference from the best; every "
    "pair stands in the table of paired differences. "
    "Losses compete only on the same dataset and tokenizer, perplexities a token only with the same tokenizer.",
    "Speed and MFU marked “shared” were taken while other jobs ran: compare them in the table of speed and memory.",
]


def tabulate(
    study: Study,
    *,
    runs: Sequence[Path],
    evaluations: Sequence[Path],
    parity: Sequence[Path],
    contamination: Sequence[Path] = (),
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
        table: the HTML page.
        numbers: the CSV.
    """
    found = read_evaluations(evaluations)
    compared = compare(study, read_runs(runs), found, read_all(parity), read_overlaps(contamination))
    write_table(compared, study.title, table, numbers)


def compare(
    study: Study,
    runs: Sequence[Run],
    evaluations: Sequence[Evaluation],
    parity: Sequence[dict[str, Any]],
    overlaps: Sequence[Overlap] = (),
) -> Table:
    """The comparison as a table: a row for each run and evaluated checkpoint, baselines and published rows apart."""
    by_model: dict[tuple[str, str], dict[str, Evaluation]] = {}
    groups: dict[str, Evaluation] = {}
    for evaluation in evaluations:
        by_model.setdefault((evaluation.run, evaluation.checkpoint), {})[evaluation.raw["evaluation"]] = evaluation
        if evaluation.scores or evaluation.raw["evaluation"] not in groups:
            groups[evaluation.raw["evaluation"]] = evaluation
    names = list(dict.fromkeys(["model", *varying(runs), "parallel", "precision"]))
    labels = run_labels(runs, {run.name for run in runs})
    known = {run.name: run for run in runs}
    scored: list[tuple[Row, dict[str, Evaluation]]] = []
    for run in runs:
        checkpoints = [checkpoint for name, checkpoint in by_model if name == run.name] or [""]
        for checkpoint in checkpoints:
            cells = {"run": Cell(labels[run.name], run.name, tip=f"{run.name}: {run.folder}")}
            cells |= _run_cells(run, checkpoint) | _parity_cell(run, parity)
            found = by_model.get((run.name, checkpoint), {})
            scored.append((Row(cells | _scores(found, run.tokenizer)), found))
    for (name, checkpoint), found in by_model.items():
        if name not in known:
            cells = {key: Cell(name, name) for key in ("run", "model")}
            cells["checkpoint"] = Cell(checkpoint, checkpoint)
            cells["outcome"] = Cell("evaluated", "evaluated", tip="evaluated as it is, not trained here", kind="plain")
            tokenizer = next((run.tokenizer for run in runs if run.coordinates["model"] == name), name)
            scored.append((Row(cells | _scores(found, tokenizer)), found))
    _set_against_best(scored, runs)
    rows = [row for row, _ in scored]
    rows += _over_seeds(configurations(runs), evaluations)
    rows += _baselines(groups)
    rows += [_published(entry, groups) for entry in study.published]
    columns = _columns(names, groups, rows, set(varying(runs)))
    alike = [f"{name} {runs[0].coordinates[name]}" for name in names if runs and name not in {"model", *varying(runs)}]
    if all(run.finished for run in runs) and all(name in known for name, _ in by_model):
        alike.append("outcome finished")
        columns = [replace(column, shown=column.shown and column.key != "outcome") for column in columns]
    notes = [f"All runs: {', '.join(alike)}.", *NOTES] if runs and alike else NOTES
    repeated = [
        (first, second) for first, second in pairwise(columns) if second.shown and _repeats(first, second, rows)
    ]
    notes = [
        *notes,
        *remarks(overlaps),
        *(f"{second.title} equals {first.title} in every row; the CSV has it." for first, second in repeated),
    ]
    hidden = {second.key for _, second in repeated}
    columns = [replace(column, shown=column.shown and column.key not in hidden) for column in columns]
    return Table("Comparison of runs", columns, rows, notes, empty="This study has no runs.")


def _repeats(first: Column, second: Column, rows: Sequence[Row]) -> bool:
    """Whether two columns of one evaluation hold the same numbers: acc_norm where all endings are of one length."""
    if not first.group or first.group != second.group or first.best is None or ":" not in first.key:
        return False
    values = [
        [row.cells[column.key].value if column.key in row.cells else None for column in (first, second)] for row in rows
    ]
    return all(one == other for one, other in values) and any(one is not None for one, _ in values)


def _run_cells(run: Run, checkpoint: str) -> dict[str, Cell]:
    summary = run.summary
    cells = {name: Cell(value, value) for name, value in run.coordinates.items()}
    cells["checkpoint"] = Cell(checkpoint, checkpoint) if checkpoint else missing("nothing was evaluated")
    cells["outcome"] = outcome_cell(summary["outcome"], summary["reason"])
    rivals = f"{run.coordinates['dataset']}/{run.tokenizer}" if run.finished else run.name
    best = summary["best"]
    tips = {
        "training_loss": f"mean of the last ten of {summary['steps']} steps",
        "validation_loss": f"lowest: {fixed(best['validation_loss'])} at step {best['step']}" if best else "",
    }
    for key, tip in tips.items():
        if summary[key] is None:
            cells[key] = missing(summary["reason"] or "not measured")
        else:
            kind = "" if run.finished else "muted"
            cells[key] = Cell(fixed(summary[key]), summary[key], tip=tip, kind=kind, rivals=rivals)
    speed = summary["tokens_per_second"]
    timing = summary["timing"]
    if speed is not None:
        tip = f"median step without warm-up; {duration(summary['elapsed_seconds'])} in all"
        cells["tokens_per_second"] = Cell(fixed(speed, 0), speed, {"timing": timing}, tip, "muted", detail=timing)
    device = summary["peak_device_memory"]
    memory = summary["peak_host_memory"] if device is None else device
    if memory is not None:
        of = "host" if device is None else "device"
        cells["peak_memory"] = Cell(size(memory), memory, {"kind": of}, tip=f"{of} memory, largest over processes")
    if summary["mfu"] is not None:
        tip = f"{summary['mfu_formula']}; peak {summary['peak_flops']:.3g} FLOP/s, {summary['peak_source']}"
        text = f"{100 * summary['mfu']:.1f}"
        cells["mfu"] = Cell(text, summary["mfu"], {"timing": timing}, tip, "muted", detail=timing)
    return cells


def _parity_cell(run: Run, parity: Sequence[dict[str, Any]]) -> dict[str, Cell]:
    """The verdict on the run's parallel setting in its precision, by the probe of its own model where there is one."""
    place = run.coordinates
    fitting = [probe for probe in parity if all(probe[key] == place[key] for key in ("parallel", "precision"))]
    if not fitting:
        return {"parity": missing("no probe of this parallel setting in this precision")}
    probe = next((probe for probe in fitting if probe["model"] == place["model"]), fitting[0])
    return {"parity": verdict(probe)}


def _scores(found: dict[str, Evaluation], tokenizer: str) -> dict[str, Cell]:
    cells = {}
    for group, evaluation in found.items():
        scores = evaluation.scores
        for name in SHOWN[evaluation.metric]:
            if name not in scores:
                cells[f"{group}:{name}"] = missing(evaluation.reason)
                continue
            tip = describe(evaluation)
            rivals = tokenizer if name == "perplexity_token" else ""
            remark = ""
            if evaluation.metric == "hellaswag" and guesses(scores[name]):
                remark, tip = "chance", f"within two standard errors of chance; {tip}"
            cells[f"{group}:{name}"] = score_cell(name, scores[name], rivals, tip, remark, n=evaluation.raw["n"])
    return cells


def _set_against_best(scored: Sequence[tuple[Row, dict[str, Evaluation]]], runs: Sequence[Run]) -> None:
    """Let each score say whether a paired test can tell it from the best of its rivals."""
    columns: dict[tuple[str, str], list[tuple[Row, str, Evaluation]]] = {}
    for row, found in scored:
        for group, evaluation in found.items():
            for name in evaluation.scores.keys() & set(SHOWN[evaluation.metric]):
                key = f"{group}:{name}"
                columns.setdefault((key, row.cells[key].rivals), []).append((row, name, evaluation))
    for (key, _), rivals in columns.items():
        group = [evaluation for _, _, evaluation in rivals]
        names = model_labels(runs, group)
        tested = pairs(group, rivals[0][1])
        for pair in tested:
            if pair.first == tested[0].first:
                cells = rivals[pair.second][0].cells
                noise = None if pair.p is None else pair.verdict == WITHIN
                tip = f"{names[pair.first]} against this: {told(rivals[0][1], pair)}\n{cells[key].tip}"
                cells[key] = replace(cells[key], noise=noise, tip=tip)


def _over_seeds(found: Sequence[Configuration], evaluations: Sequence[Evaluation]) -> list[Row]:
    """A row for each configuration and checkpoint: mean and standard deviation over seeds."""
    rows: dict[tuple[str, str], Row] = {}
    figures = repeated(found, evaluations)
    for figure in sorted(figures, key=lambda figure: not figure.checkpoint):  # losses stand in every row there is
        tested = {pair.second: pair for pair in pairs_over_seeds(figure) if pair.first == figure.ranking[0]}
        best = figure.configurations[figure.ranking[0]].label
        for place, (configuration, values) in enumerate(zip(figure.configurations, figure.values, strict=True)):
            tip = f"{best} against this: {told(figure.name, tested[place])}" if place in tested else ""
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
    number = counted(len(configuration.runs), "seed")
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


def _published(entry: Published, groups: dict[str, Evaluation]) -> Row:
    """A published result: in the column of the same protocol where there is one, else in a column of its own."""
    tip = f"{entry.protocol}; source: {entry.source}"
    cells = {key: Cell(entry.model, entry.model, tip=tip) for key in ("run", "model")}
    if entry.parallel:
        cells["parallel"] = Cell(entry.parallel, entry.parallel)
    cells["source"] = Cell(clip(entry.source, 60), entry.source, tip=tip)
    for figure, value in entry.values.items():
        if figure in FIGURES:
            scale = 1e9 if figure == "peak_memory_gb" else 1
            text = size(value * scale) if scale > 1 else fixed(value, 0 if value > 1000 else 4 if value < 1 else 2)
            cells[FIGURES[figure]] = Cell(text, value * scale, tip=tip)
            continue
        name = figure.removeprefix("hellaswag_")
        raw = value / 100 if name in PERCENT and value > 1 else value
        group = next((key for key, found in groups.items() if name in SHOWN[found.metric] and same(entry, found)), "")
        cells[f"{group}:{name}"] = Cell(score(name, raw), raw, tip=tip)
    return Row(cells, PUBLISHED)


def same(entry: Published, evaluation: Evaluation) -> bool:
    """Whether a published figure was measured as ours: same dataset, protocol and shots, as far as its text says."""
    text = f"{entry.protocol} {entry.source}".lower()
    shots = re.search(r"(\d+)-shot", text)
    if shots and evaluation.shots is not None and int(shots[1]) != evaluation.shots:
        return False
    dataset = str(evaluation.raw["dataset"]).lower()
    named = dataset == "hellaswag" if evaluation.metric == "hellaswag" else dataset in text
    return named and evaluation.protocol_name.lower() in text


def _columns(
    names: Sequence[str], groups: dict[str, Evaluation], rows: Sequence[Row], differing: set[str]
) -> list[Column]:
    """The columns that have something to show; what all runs share, and what is seldom asked for, in the CSV alone."""
    checkpoints = {row.cells["checkpoint"].value for row in rows if "checkpoint" in row.cells}
    columns = [Column("run", "run", text=True)]
    # a label that is the model's name makes the model's own column superfluous on the page
    plain = all(row.cells["run"].text == row.cells["model"].text for row in rows if "model" in row.cells)
    columns += [
        Column(
            name,
            name,
            text=name not in ("processes", "seed"),
            shown=not plain if name == "model" else name in differing,
        )
        for name in names
    ]
    if len(checkpoints) > 1:
        columns.append(Column("checkpoint", "checkpoint", text=True, tip="which of the run's models was evaluated"))
    columns.append(Column("outcome", "outcome", text=True))
    columns += [
        Column("training_loss", "training", "loss, nats a token", "low"),
        Column("validation_loss", "validation", "loss, nats a token", "low"),
    ]
    for group, evaluation in groups.items():
        for name in SHOWN[evaluation.metric]:
            best = "low" if evaluation.metric == "perplexity" else "high"
            columns.append(
                Column(f"{group}:{name}", SHORT_TITLES[name], evaluation.title, best, shown=name not in SELDOM)
            )
    columns += [
        Column(
            f":{name}", SHORT_TITLES[name], "published, another protocol", tip="not comparable with the columns above"
        )
        for names in SHOWN.values()
        for name in names
    ]
    columns += [
        Column("tokens_per_second", "tokens/s", "cost"),
        Column("samples_per_second", "samples/s", "cost"),
        Column("peak_memory", "peak memory", "cost"),
        Column("mfu", "MFU %", "cost", tip="share of the peak: point at a value for formula and peak"),
        Column("energy_kwh", "energy, kWh", "cost"),
        Column("parity", "parity", "against the reference", tip="largest difference in loss from the reference"),
        Column("source", "source", "published", text=True),
    ]
    used = {key for row in rows for key, cell in row.cells.items() if cell.value is not None}
    always = {"run", *names, "outcome", "training_loss"}
    used |= {column.key for column in columns if column.key.partition(":")[0] in groups}
    return [column for column in columns if column.key in used | always]
