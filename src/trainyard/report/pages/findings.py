"""What the results of a study say, in sentences: no number in them is written by hand."""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, variance

from trainyard.core.statistics import Score
from trainyard.estimate.memory import is_tuned_on
from trainyard.metrics import METRICS, Metric
from trainyard.report.pages import scaling
from trainyard.report.pages.compute_optimal import describe_law
from trainyard.report.pages.forecasts import describe_forecasts
from trainyard.report.pages.levels import MOST, describe_endings
from trainyard.report.pages.predicted_memory import LARGE, TOO_SMALL, reported_error
from trainyard.report.pages.quality import describe_pareto_front
from trainyard.report.pages.searches import describe_searches
from trainyard.report.pages.speed import describe_speeds
from trainyard.report.pages.sweeps import describe_sweeps
from trainyard.report.pages.trade_offs import describe_trade_offs
from trainyard.report.pages.verdicts import (
    describe_near_best,
    describe_second,
    describe_second_loss,
    describe_seeds,
    describe_test,
)
from trainyard.report.render.format import (
    PERCENT,
    POINTS,
    TITLES,
    decimal,
    duration,
    join_words,
    plural,
    probe_noun,
    scientific,
    score,
    short,
    size,
    truncate,
)
from trainyard.report.results.measurements import PLACE, MeasuredCell, cell_label, group_cells
from trainyard.report.results.measurements import varying_coordinates as varying_cells
from trainyard.report.results.probes import (
    describe_excess,
    describe_tolerance,
    is_bit_equal,
    name_reference,
    nearest_probe,
    probe_label,
)
from trainyard.report.results.runs import Evaluation, Run, distinguishing_coordinates, label
from trainyard.report.statistics.paired_tests import (
    PairedTest,
    compare_paired,
    compare_with_baseline,
    correct_by_holm,
)
from trainyard.report.statistics.seeds import group_configurations, headline
from trainyard.report.statistics.selection import correct_for_choice, describe_choice
from trainyard.report.statistics.study import Evidence, Ranking, best_loss, group_by_data, ranked_by

OF_LOSSES = {"Training", "Cost", "Scaling", "Sweeps"}  # topics that compare losses of training and validation
PREDICTED = 0.15  # of the measured increase: what a prediction of memory is to stay within


@dataclass(frozen=True)
class Finding:
    """What the results say on one topic.

    Attributes:
        topic: its heading.
        sentences: what is said.
        exploratory: whether it is of another metric than the one that answers the study's question.
    """

    topic: str
    sentences: list[str]
    exploratory: bool = False


def collect_findings(evidence: Evidence) -> list[Finding]:
    """Everything that can be said, topic by topic; a topic without results is left out."""
    primary = evidence.study.primary
    others = {metric.topic for metric in METRICS.values() if metric.key != primary} | OF_LOSSES if primary else set()
    topics: list[tuple[str, Callable[[Evidence], list[str]]]] = [
        ("Forecasts", describe_forecasts),
        ("Trade-offs", describe_trade_offs),  # first: who trains a recipe beside `base` asks what to switch on
        ("Training", _training),
        ("Held-out data", _held_out),
        ("Search", describe_searches),
        ("Sweeps", describe_sweeps),
        ("Cost", describe_pareto_front),
        *((metric.topic, _describe(metric)) for metric in METRICS.values()),
        ("Parity", _parity),
        ("Speed and memory", _measure),
        ("Scaling", _scaling),
        ("Failures", _failures),
    ]
    return [Finding(topic, sentences, topic in others) for topic, say in topics if (sentences := say(evidence))]


def _training(evidence: Evidence) -> list[str]:
    sentences = []
    groups = group_by_data(evidence.runs)
    for (dataset, tokenizer), group in groups.items():
        names = distinguishing_coordinates([run for _, run in group])
        if headline(evidence.runs, [(run.name, "", loss) for loss, run in group], lower=True).several:
            continue  # what is said over seeds answers it
        loss, run = group[0]
        where = f" on {dataset} ({tokenizer} tokens)" if len(groups) > 1 else ""
        text = (
            f"{label(run, names)}: validation loss {decimal(loss)}{where} after {short(run.summary['tokens'])} "
            f"tokens in "
            f"{duration(run.summary['elapsed_seconds'])}"
        )
        if len(group) > 1:
            text += f", the lowest of {plural(len(group), 'run')}; the highest is {label(group[-1][1], names)} with "
            text += decimal(group[-1][0])
        sentences.append(f"{text}.")
        if len(group) > 1:
            second, other = group[1]
            sentences.append(
                f"Second is {label(other, names)} with {decimal(second)}, "
                f"{describe_second_loss([run for _, run in group])}."
            )
    repeats = describe_seeds(evidence, ("validation_loss",)) or describe_seeds(evidence, ("training_loss",))
    return repeats + sentences + _seeds(evidence.runs) + _published(evidence)


def _seeds(runs: Sequence[Run]) -> list[str]:
    """How much the seed alone moves the validation loss, for each dataset and tokenizer."""
    groups: dict[tuple[str, str], list[list[float]]] = {}
    for configuration in group_configurations(runs):
        losses = [loss for run in configuration.runs if (loss := best_loss(run)) is not None]
        first = configuration.runs[0]
        if len(losses) > 1:
            groups.setdefault((first.coordinates["dataset"], first.tokenizer), []).append(losses)
    if not groups and sum(run.finished for run in runs) > 1:
        return ["Every run has one seed: what is said is of these models, not of the recipes that made them."]
    sentences = []
    for (dataset, tokenizer), several in groups.items():
        degrees = sum(len(losses) - 1 for losses in several)
        deviation = math.sqrt(sum((len(losses) - 1) * variance(losses) for losses in several) / degrees)
        if deviation:
            of = f" ({dataset}, {tokenizer} tokens)" if len(groups) > 1 else ""
            sentences.append(
                f"The seed alone moves the validation loss{of} by {decimal(deviation)} nats (standard deviation, with "
                f"{plural(degrees, 'degree')} of freedom)."
            )
    return sentences


def _published(evidence: Evidence) -> list[str]:
    sentences = []
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
            sentences.append(
                f"Published for {entry.model}: {decimal(theirs)} nats ({truncate(entry.source, 80)}); here "
                f"{decimal(fmean(head.values))}{seeds}."
            )
    return sentences


def _held_out(evidence: Evidence) -> list[str]:
    """Held-out rows that are none, since a run was trained on them."""
    return [
        f"{each['duplicates']:,} of the {each['rows']:,} rows of {each['dataset']} {each['split']} "
        f"({decimal(100 * each['duplicates'] / each['rows'], 1)} %) also appear in the training rows of "
        f"{each['training']}: scores on them may be memorisation."
        for each in evidence.duplicates
        if each["duplicates"]
    ]


def _describe(metric: Metric) -> Callable[[Evidence], list[str]]:
    """What is said of a metric: of one that guessing does well at, against chance and shortcuts too."""
    return functools.partial(_scores if metric.chance is None else describe_endings, metric)


def _scores(metric: Metric, evidence: Evidence) -> list[str]:
    """The best model by a metric on each split, the second, the baselines, and what training did."""
    said = describe_seeds(evidence, metric.told[:1])
    for group, name in ranked_by(evidence, metric, metric.told[0]):
        title = TITLES[name]
        head = group.headline(evidence.runs, name)
        best = group.evaluations[head.place]
        seeds = f", the middle one of its {len(head.values)} seeds," if len(head.values) > 1 else ""
        corrected = {
            each: correct_for_choice(best.scores[each], each, best.raw["n"], head.among)
            for each in (name, *metric.told[1:])
        }
        values = [f"{TITLES[each]} {_with_interval(each, corrected[each])}" for each in metric.told[1:]]
        first = f"{title} {_with_interval(name, corrected[name])}"
        if len(group.scores) > 1 and not head.several:
            extreme = "highest" if metric.higher_is_better else "lowest"
            first = f"the {extreme} {title}: {_with_interval(name, corrected[name])}"
        others = f", with {join_words(values)}" if values else ""
        items = plural(best.raw["n"], metric.item)
        choice = describe_choice(head.among) if corrected[name].interval else ""
        choice = f" (95 % intervals{choice})" if choice else ""
        said.append(f"{group.title}, {items}: {group.labels[head.place]}{seeds} has {first}{others}{choice}.")
        if len(group.scores) > 1 and not head.several:
            second = _with_interval(name, group.scores[1])
            said.append(f"Second is {group.labels[1]} with {title} {second}, {describe_second(group, name)}.")
            said += _near(group, name)
        said += _against_baselines(best, name, head.among)
        said += _against_pretrained(evidence, group, name)
    return said


def _with_interval(name: str, value: Score) -> str:
    digits = 1 if name in POINTS else None
    text = score(name, value.value, digits) + _unit(name)
    if value.interval is None:
        return text
    low, high = (score(name, end, digits) for end in value.interval)
    return f"{text} [{low}, {high}]"


def _unit(name: str) -> str:
    return " %" if name in PERCENT else ""


def _against_baselines(best: Evaluation, name: str, among: int) -> list[str]:
    """The best of so many against each baseline."""
    said = []
    for baseline, values in best.baselines.items():
        tested = compare_with_baseline(best, baseline, name, among)
        verdict = f"not tested ({tested})"
        if isinstance(tested, PairedTest):
            verdict = f"the model minus the baseline is {describe_test(name, tested)}{describe_choice(among)}"
        said.append(f"The baseline {baseline} has {TITLES[name]} {_with_interval(name, values[name])}: {verdict}.")
    return said


def _near(group: Ranking, name: str) -> list[str]:
    near = describe_near_best(group, name)
    return [f"Within noise of the best too: {join_words(near[:MOST])}."] if near else []


def _against_pretrained(evidence: Evidence, group: Ranking, name: str) -> list[str]:
    """What training did to models that were evaluated untouched too, corrected by Holm for their number."""
    models = {run.name: run.coordinates["model"] for run in evidence.runs}
    before = {
        each.run: (each, value)
        for each, value in zip(group.evaluations, group.scores, strict=True)
        if each.checkpoint == "pretrained"
    }
    texts, tests = [], []
    for each, text, after in zip(group.evaluations, group.labels, group.scores, strict=True):
        pretrained = before.get(models.get(each.run, ""))
        if pretrained is None or each.checkpoint == "pretrained":
            continue
        untouched, start = pretrained
        before_and_after = f"from {score(name, start.value)} to {score(name, after.value)}{_unit(name)}"
        texts.append(f"Training took the {TITLES[name]} of {text} {before_and_after}")
        tests.append(compare_paired(each, untouched, name))
    changes = [
        f"not tested: {test}" if isinstance(test, str) else describe_test(name, test) for test in correct_by_holm(tests)
    ]
    by_holm = " by Holm" if sum(isinstance(test, PairedTest) for test in tests) > 1 else ""
    return [f"{text} ({change}{by_holm})." for text, change in zip(texts, changes, strict=True)]


def _parity(evidence: Evidence) -> list[str]:
    sentences = []
    for precision, against in dict.fromkeys((probe["precision"], probe["against"]) for probe in evidence.parity):
        probes = [probe for probe in evidence.parity if (probe["precision"], probe["against"]) == (precision, against)]
        reference = name_reference(probes[0])
        compared = [probe for probe in probes if probe["within"] is not None]
        outside = [probe for probe in compared if not probe["within"]]
        equal = [probe_label(probe, evidence.parity) for probe in compared if is_bit_equal(probe)]
        what = probe_noun([probe["parallel"] for probe in compared])
        if compared and len(equal) == len(compared):
            settings = f"All {len(equal)} {what}" if len(equal) > 1 else equal[0]
            verb = "equal" if len(equal) > 1 else "equals"
            sentences.append(
                f"{settings} {_in(what, precision)} {verb} {reference} bit by bit: the loss of each of "
                f"{min(probe['compared_steps'] for probe in compared)} steps is the same number."
            )
        elif compared:
            word, worst = nearest_probe(compared)
            name = probe_label(worst, evidence.parity)
            within = len(compared) - len(outside)
            whole = f"All {within}" if not outside else f"{within} of {len(compared)}"
            sentences.append(
                f"{whole} {what} {_in(what, precision)} stay within {describe_tolerance(compared)} "
                f"({word}: {name}, {scientific(worst['largest'])})."
                if len(compared) > 1
                else f"{name} in {precision} deviates by {scientific(worst['largest'])} at most from "
                f"{reference} over {worst['compared_steps']} steps; its tolerance is {scientific(worst['tolerance'])}."
            )
        if equal and len(equal) < len(compared):
            sentences.append(f"Equal to {reference} bit by bit: {join_words(equal)}.")
        sentences += [
            f"{probe_label(probe, evidence.parity)} deviates by {describe_excess(probe)}." for probe in outside
        ]
        sentences += [
            f"{probe_label(probe, evidence.parity)} in {precision} could not be compared "
            f"({probe['outcome']}: {truncate(probe['reason'] or 'no reason given', 160)})."
            for probe in probes
            if probe["within"] is None and against == "fp32"
        ]
    return sentences


def _in(what: str, precision: str) -> str:
    return f"in {precision}" if what == "probes" else f"probed in {precision}"


def _measure(evidence: Evidence) -> list[str]:
    return [
        *describe_speeds(evidence.cells),
        *_leanest(evidence.cells),
        *_largest_batches(evidence.searches),
        *_predictions(evidence.cells),
    ]


def _leanest(cells: Sequence[MeasuredCell]) -> list[str]:
    """The parallel setting that takes the least memory, of each model, and those that launches can't tell from it.

    Memory of one launch says nothing of the next one's. Of several, settings tie whose launches' ranges overlap.
    """
    sentences = []
    names = [name for name in varying_cells(cells) if name != "model"]
    measured = [cell for cell in cells if cell["peak_memory"] is not None]
    for model in dict.fromkeys(cell["model"] for cell in measured):
        of_model = [cell for cell in measured if cell["model"] == model]
        leanest = min(of_model, key=lambda cell: cell["peak_memory"])
        text = f"{size(leanest['peak_memory'])} per process, libraries included"
        if len(of_model) == 1:
            sentences.append(f"{model} takes {text}.")
            continue
        text = f"{model} takes least memory under {cell_label(leanest, names)}, {text}"
        tied = [cell_label(cell, names) for cell in of_model if cell is not leanest and _takes_as_little(cell, leanest)]
        if tied:
            text += f"; launches can't tell {truncate(join_words(tied), 160)} from it"
        sentences.append(f"{text}.")
    return sentences


def _takes_as_little(cell: MeasuredCell, leanest: MeasuredCell) -> bool:
    """Whether a launch of the one took no more memory than one of the other."""
    ours, theirs = ([launch["peak_memory_increase"] or 0 for launch in each["launches"]] for each in (cell, leanest))
    return min(ours) <= max(theirs)


def _largest_batches(searches: Sequence[MeasuredCell]) -> list[str]:
    """The parallel setting that fits the most sequences, of each place that was searched."""
    sentences = []
    distinguishing = varying_cells(searches, PLACE)
    for cells in group_cells(search for search in searches if search["largest_batch"] is not None).values():
        largest_batch = max(search["largest_batch"] for search in cells)
        names = [search["parallel"] for search in cells if search["largest_batch"] == largest_batch]
        where = f" of {cell_label(cells[0], distinguishing)}" if distinguishing else ""
        text = f"Largest batch{where} that fits: {plural(largest_batch, 'sequence')} per process, under "
        text += truncate(join_words(names), 120)
        smallest_batch = min(search["largest_batch"] for search in cells)
        sentences.append(
            f"{text}; the smallest of any setting is {smallest_batch}."
            if smallest_batch < largest_batch
            else f"{text}."
        )
    return sentences


def _predictions(cells: Sequence[MeasuredCell]) -> list[str]:
    """How far predicted memory lies from the measured increase, where more is predicted than what libraries keep."""
    tuned = [cell for cell in cells if cell["prediction_error"] is not None and is_tuned_on(cell)]
    judged = [cell for cell in cells if cell not in tuned]
    errors = [abs(error) for cell in judged if (error := reported_error(cell)) is not None]
    small = sum(cell["prediction_error"] is not None for cell in judged) - len(errors)
    if not errors:
        return [f"Predicted memory can't be judged: {TOO_SMALL}."] if small else []
    near = sum(error <= PREDICTED for error in errors)
    return [
        f"Predicted memory is within {decimal(100 * PREDICTED, 0)} % of the measured increase for {near} of "
        f"{plural(len(errors), 'cell')} (largest error: {decimal(100 * max(errors), 1)} %)."
        + (f" Left out: {plural(small, 'cell')} with less than {size(LARGE)} predicted." if small else "")
        + (f" Left out: {plural(len(tuned), 'cell')} like those that the prediction was tuned on." if tuned else "")
    ]


def _scaling(evidence: Evidence) -> list[str]:
    if not evidence.study.scaling:
        return []
    points = scaling.gather(evidence.study, evidence.runs, evidence.models)
    return [*scaling.describe_sizes(points, evidence.runs), *describe_law(evidence.runs, evidence.models)]


def _failures(evidence: Evidence) -> list[str]:
    names = distinguishing_coordinates(evidence.runs)
    failed = [
        (label(run, names), run.summary["outcome"], run.summary["reason"]) for run in evidence.runs if not run.finished
    ]
    cell_names = varying_cells(evidence.cells)
    failed += [
        (f"measuring {cell_label(cell, cell_names)}", cell["outcome"], cell["reason"])
        for cell in evidence.cells
        if cell["outcome"] != "finished"
    ]
    sentences = []
    for name, outcome, reason in failed[:MOST]:
        first = (reason or "no reason given").partition("\n")[0]
        sentences.append(f"{name}: {outcome} ({truncate(first, 200)}).")
    if len(failed) > MOST:
        sentences.append(f"{len(failed) - MOST} more are in the tables.")
    return sentences
