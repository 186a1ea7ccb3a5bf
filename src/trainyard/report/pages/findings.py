"""What the results of a study say, in sentences: no number in them is written by hand."""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from trainyard.core.statistics import Score, difference
from trainyard.metrics import METRICS, Metric
from trainyard.report.pages import scaling
from trainyard.report.pages.levels import MOST, distance, endings
from trainyard.report.pages.predicted_memory import TOO_SMALL, told_error
from trainyard.report.pages.quality import leaders
from trainyard.report.pages.verdicts import NOISE, near_best, of_second, one_test, over_seeds
from trainyard.report.render.format import (
    POINTS,
    TITLES,
    clip,
    counted,
    duration,
    fixed,
    listed,
    probed,
    scientific,
    score,
    short,
    size,
)
from trainyard.report.results.measurements import PLACE, MeasuredCell, by_place, cell_label, company
from trainyard.report.results.measurements import varying as varying_cells
from trainyard.report.results.probes import allowance, nearest, probe_label, same_bits
from trainyard.report.results.runs import Evaluation, Run, label, telling
from trainyard.report.statistics.paired_tests import Paired, against_baseline, paired
from trainyard.report.statistics.seeds import headline
from trainyard.report.statistics.study import Evidence, Ranked, best_loss, by_data, ranked_by

PREDICTED = 0.15  # of the measured increase: what a prediction of memory is to stay within


@dataclass(frozen=True)
class Finding:
    """What the results say on one topic."""

    topic: str
    sentences: list[str]


def findings(evidence: Evidence) -> list[Finding]:
    """Everything that can be said, topic by topic; a topic without results is left out."""
    topics: list[tuple[str, Callable[[Evidence], list[str]]]] = [
        ("Training", _training),
        ("Held-out data", _held_out),
        ("Cost", leaders),
        *((metric.topic, _describe(metric)) for metric in METRICS.values()),
        ("Parity", _parity),
        ("Speed and memory", _measure),
        ("Scaling", _scaling),
        ("Failures", _failures),
    ]
    return [Finding(topic, said) for topic, say in topics if (said := say(evidence))]


def _training(evidence: Evidence) -> list[str]:
    said = []
    groups = by_data(evidence.runs)
    for (dataset, tokenizer), group in groups.items():
        names = telling([run for _, run in group])
        if headline(evidence.runs, [(run.name, "", loss) for loss, run in group], lower=True).several:
            continue  # what is said over seeds answers it
        loss, run = group[0]
        place = f" on {dataset} ({tokenizer} tokens)" if len(groups) > 1 else ""
        text = (
            f"{label(run, names)}: validation loss {fixed(loss)}{place} after {short(run.summary['tokens'])} tokens in "
            f"{duration(run.summary['elapsed_seconds'])}"
        )
        if len(group) > 1:
            text += f", the lowest of {counted(len(group), 'run')}; the highest is {label(group[-1][1], names)} with "
            text += fixed(group[-1][0])
        said.append(f"{text}.")
    repeats = over_seeds(evidence, ("validation_loss",)) or over_seeds(evidence, ("training_loss",))
    return repeats + said + _seeds(evidence.runs) + _published(evidence)


def _seeds(runs: Sequence[Run]) -> list[str]:
    """How much the seed alone moves the validation loss."""
    groups: dict[tuple[str, ...], list[float]] = {}
    for run in runs:
        loss = best_loss(run)
        if run.finished and loss is not None:
            place = tuple(value for name, value in run.coordinates.items() if name != "seed")
            groups.setdefault(place, []).append(loss)
    spreads = [max(losses) - min(losses) for losses in groups.values() if len(losses) > 1]
    if not any(spreads):
        return []
    return [
        f"The seed alone moves the validation loss by up to {fixed(max(spreads))} nats: smaller differences are noise."
    ]


def _published(evidence: Evidence) -> list[str]:
    said = []
    for entry in evidence.study.published:
        theirs = entry.values.get("validation_loss")
        ours = [
            (run.name, "", loss)
            for run in evidence.runs
            if run.finished and run.coordinates["model"] == entry.model and (loss := best_loss(run)) is not None
        ]
        if theirs is not None and ours:
            head = headline(evidence.runs, ours, lower=True)
            seeds = f", the mean of {len(head.values)} seeds" if len(head.values) > 1 else ""
            said.append(
                f"Published for {entry.model}: {fixed(theirs)} nats ({clip(entry.source, 80)}); here "
                f"{fixed(fmean(head.values))}{seeds}."
            )
    return said


def _held_out(evidence: Evidence) -> list[str]:
    """Held-out rows that are none, since a run was trained on them."""
    return [
        f"{each['duplicates']:,} of the {each['rows']:,} rows of {each['dataset']} {each['split']} "
        f"({fixed(100 * each['duplicates'] / each['rows'], 1)} %) also appear in the training rows of "
        f"{each['training']}: scores on them may be memorisation."
        for each in evidence.duplicates
        if each["duplicates"]
    ]


def _describe(metric: Metric) -> Callable[[Evidence], list[str]]:
    """What is said of a metric: of one that guessing does well at, against chance and shortcuts too."""
    return endings if metric.has_chance else functools.partial(_scores, metric)


def _scores(metric: Metric, evidence: Evidence) -> list[str]:
    """The best model by a metric on each split, the second, the baselines, and what training did."""
    said = over_seeds(evidence, metric.told[:1])
    for group, name in ranked_by(evidence, metric, metric.told[0]):
        title = TITLES[name]
        head = group.headline(evidence.runs, name)
        best = group.evaluations[head.place]
        seeds = f", the middle one of its {len(head.values)} seeds," if len(head.values) > 1 else ""
        values = [f"{TITLES[each]} {_with_interval(each, best.scores[each])}" for each in metric.told[1:]]
        first = f"{title} {_with_interval(name, best.scores[name])}"
        if len(group.scores) > 1 and not head.several:
            extreme = "highest" if metric.higher_is_better else "lowest"
            first = f"the {extreme} {title}: {_with_interval(name, best.scores[name])}"
        others = f", with {listed(values)}" if values else ""
        items = counted(best.raw["n"], metric.item)
        said.append(f"{group.title}, {items}: {group.labels[head.place]}{seeds} has {first}{others}.")
        if len(group.scores) > 1 and not head.several:
            second = _with_interval(name, group.scores[1])
            said.append(f"Second is {group.labels[1]} with {title} {second}, {of_second(group, name)}.")
            said += _near(group, name)
        said += _against_baselines(best, name, group.scores[head.place])
        said += _against_pretrained(evidence, group, name)
    return said


def _with_interval(name: str, value: Score) -> str:
    digits = 1 if name in POINTS else None
    text = score(name, value.value, digits)
    if value.interval is None:
        return text
    low, high = (score(name, end, digits) for end in value.interval)
    return f"{text} [{low}, {high}]"


def _against_baselines(best: Evaluation, name: str, value: Score) -> list[str]:
    said = []
    for baseline, values in best.baselines.items():
        tested = against_baseline(best, baseline, name)
        errors = difference(value, values[name])
        if isinstance(tested, Paired):
            verdict = f": the model minus the baseline is {one_test(name, tested)}"
        else:
            verdict = "" if errors is None else f": the model is {distance(errors)} it"
        said.append(f"The baseline {baseline} has {TITLES[name]} {_with_interval(name, values[name])}{verdict}.")
    return said


def _near(group: Ranked, name: str) -> list[str]:
    near = near_best(group, name)
    return [f"Within noise of the best too: {listed(near[:MOST])}."] if near else []


def _against_pretrained(evidence: Evidence, group: Ranked, name: str) -> list[str]:
    """What training did to models that were evaluated untouched too."""
    models = {run.name: run.coordinates["model"] for run in evidence.runs}
    before = {
        each.run: (each, value)
        for each, value in zip(group.evaluations, group.scores, strict=True)
        if each.checkpoint == "pretrained"
    }
    said = []
    for each, text, after in zip(group.evaluations, group.labels, group.scores, strict=True):
        found = before.get(models.get(each.run, ""))
        if found is None or each.checkpoint == "pretrained":
            continue
        untouched, start = found
        tested = paired(each, untouched, name)
        errors = difference(start, after)
        if isinstance(tested, Paired):
            change = one_test(name, tested)
        else:
            change = f"{fixed(100 * (after.value / start.value - 1), 1)} %"
            change += f", {_noise(errors)}"
        before_and_after = f"from {score(name, start.value)} to {score(name, after.value)}"
        said.append(f"Training took the {TITLES[name]} of {text} {before_and_after} ({change}).")
    return said


def _noise(errors: float | None) -> str:
    if errors is None:
        return "with no error to judge it by"
    if abs(errors) < NOISE:
        return f"within noise: {fixed(abs(errors), 1)} combined standard errors"
    return f"{fixed(abs(errors), 1)} combined standard errors"


def _parity(evidence: Evidence) -> list[str]:
    said = []
    for precision in dict.fromkeys(probe["precision"] for probe in evidence.parity):
        probes = [probe for probe in evidence.parity if probe["precision"] == precision]
        compared = [probe for probe in probes if probe["within"] is not None]
        outside = [probe for probe in compared if not probe["within"]]
        equal = [probe_label(probe, evidence.parity) for probe in compared if same_bits(probe)]
        what = probed([probe["parallel"] for probe in compared])
        if compared and len(equal) == len(compared):
            settings = f"All {len(equal)} {what}" if len(equal) > 1 else equal[0]
            verb = "equal" if len(equal) > 1 else "equals"
            said.append(
                f"{settings} {_in(what, precision)} {verb} the reference bit by bit: the loss of each of "
                f"{min(probe['compared_steps'] for probe in compared)} steps is the same number."
            )
        elif compared:
            word, worst = nearest(compared)
            name = probe_label(worst, evidence.parity)
            within = len(compared) - len(outside)
            whole = f"All {within}" if not outside else f"{within} of {len(compared)}"
            said.append(
                f"{whole} {what} {_in(what, precision)} stay within {allowance(compared)} "
                f"({word}: {name}, {scientific(worst['largest'])})."
                if len(compared) > 1
                else f"{name} in {precision} deviates by {scientific(worst['largest'])} at most from the "
                f"reference over {worst['compared_steps']} steps; its tolerance is {scientific(worst['tolerance'])}."
            )
        if equal and len(equal) < len(compared):
            said.append(f"Equal to the reference bit by bit: {listed(equal)}.")
        said += [
            f"{probe_label(probe, evidence.parity)} deviates by {scientific(probe['largest'])}, outside its tolerance "
            f"of {scientific(probe['tolerance'])}."
            for probe in outside
        ]
        said += [
            f"{probe_label(probe, evidence.parity)} in {precision} could not be compared "
            f"({probe['outcome']}: {clip(probe['reason'] or 'no reason given', 160)})."
            for probe in probes
            if probe["within"] is None
        ]
    return said


def _in(what: str, precision: str) -> str:
    return f"in {precision}" if what == "probes" else f"probed in {precision}"


def _measure(evidence: Evidence) -> list[str]:
    said = []
    names = [name for name in varying_cells(evidence.cells) if name != "model"]
    measured = [cell for cell in evidence.cells if cell["tokens_per_second"] is not None]
    for model in dict.fromkeys(cell["model"] for cell in measured):
        cells = [cell for cell in measured if cell["model"] == model]
        fastest = max(cells, key=lambda cell: cell["tokens_per_second"])
        leanest = min(cells, key=lambda cell: math.inf if cell["peak_memory"] is None else cell["peak_memory"])
        said.append(
            f"{model} on random tokens is fastest under {cell_label(fastest, names)}, with "
            f"{fixed(fastest['tokens_per_second'], 0)} tokens/s ({company(fastest)}); least memory (libraries "
            f"included): {cell_label(leanest, names)} with {size(leanest['peak_memory'])} per process."
            if len(cells) > 1
            else f"{cell_label(fastest, names)} runs {model} at {fixed(fastest['tokens_per_second'], 0)} tokens/s "
            f"({company(fastest)}), with {size(fastest['peak_memory'])} per process, libraries included."
        )
    return said + _largest_batches(evidence.searches) + _predictions(evidence.cells)


def _largest_batches(searches: Sequence[MeasuredCell]) -> list[str]:
    """The parallel setting that fits the most sequences, of each place that was searched."""
    said = []
    told = varying_cells(searches, PLACE)
    for place in by_place(search for search in searches if search["largest_batch"] is not None).values():
        most = max(search["largest_batch"] for search in place)
        names = [search["parallel"] for search in place if search["largest_batch"] == most]
        where = f" of {cell_label(place[0], told)}" if told else ""
        text = f"Largest batch{where} that fits: {counted(most, 'sequence')} per process, under "
        text += clip(listed(names), 120)
        least = min(search["largest_batch"] for search in place)
        said.append(f"{text}; the smallest of any setting is {least}." if least < most else f"{text}.")
    return said


def _predictions(cells: Sequence[MeasuredCell]) -> list[str]:
    """How far predicted memory lies from the measured increase, where that is more than what libraries keep."""
    errors = [abs(error) for cell in cells if (error := told_error(cell)) is not None]
    if not errors:
        small = any(cell["prediction_error"] is not None for cell in cells)
        return [f"Predicted memory can't be judged: {TOO_SMALL}."] if small else []
    near = sum(error <= PREDICTED for error in errors)
    return [
        f"Predicted memory is within {fixed(100 * PREDICTED, 0)} % of the measured increase for {near} of "
        f"{counted(len(errors), 'cell')} (largest error: {fixed(100 * max(errors), 1)} %)."
    ]


def _scaling(evidence: Evidence) -> list[str]:
    if not evidence.study.scaling:
        return []
    points = scaling.gather(evidence.study, evidence.runs, evidence.models)
    return [scaling.sentence(points)]


def _failures(evidence: Evidence) -> list[str]:
    names = telling(evidence.runs)
    failed = [
        (label(run, names), run.summary["outcome"], run.summary["reason"]) for run in evidence.runs if not run.finished
    ]
    cell_names = varying_cells(evidence.cells)
    failed += [
        (f"measuring {cell_label(cell, cell_names)}", cell["outcome"], cell["reason"])
        for cell in evidence.cells
        if cell["outcome"] != "finished"
    ]
    said = []
    for name, outcome, reason in failed[:MOST]:
        first = (reason or "no reason given").partition("\n")[0]
        said.append(f"{name}: {outcome} ({clip(first, 200)}).")
    if len(failed) > MOST:
        said.append(f"{len(failed) - MOST} more are in the tables.")
    return said
