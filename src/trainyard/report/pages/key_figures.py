"""The key figures of a study."""

from dataclasses import dataclass
from statistics import fmean

from trainyard.core.statistics import Score, all_equal
from trainyard.metrics import METRICS
from trainyard.report.render.format import HEADINGS, decimal, duration, join_words, percent, scientific, score
from trainyard.report.results.measurements import describe_load, whole_label
from trainyard.report.results.probes import is_bit_equal, nearest_probe, probe_label
from trainyard.report.results.runs import distinguishing_coordinates, label
from trainyard.report.statistics.levels import ALL, find_headline, gather
from trainyard.report.statistics.seeds import LOSSES, Headline, headline
from trainyard.report.statistics.selection import correct_for_choice, describe_choice, mean_interval
from trainyard.report.statistics.speeds import rank_cells
from trainyard.report.statistics.study import Evidence, group_by_data, ranked_by


@dataclass(frozen=True)
class Card:
    """One key figure."""

    title: str
    value: str
    remark: str
    failed: bool = False


def make_cards(evidence: Evidence) -> list[Card]:
    """The key figures of a study."""
    results = []
    runs = evidence.runs
    if runs:
        finished = [run for run in runs if run.finished]
        winners = {search.winner.name for search in evidence.tuned if search.winner}
        spent = sum(run.summary["elapsed_seconds"] or 0.0 for run in runs if run.name not in winners)
        spent += sum(search.spent("seconds")[-1] for search in evidence.tuned)
        failed = len(finished) < len(runs)
        results.append(
            Card("runs finished", f"{len(finished)} of {len(runs)}", f"{duration(spent)} of training", failed)
        )
    groups = group_by_data(runs)
    largest = max(groups.values(), key=len, default=[])
    if len(groups) == 1 or len(largest) > 1:
        head = headline(runs, [(run.name, "", loss) for loss, run in largest], lower=True)
        _, best = largest[head.place]
        name = head.label or label(best, distinguishing_coordinates([run for _, run in largest]))
        remark = f"{_over(head, 'validation_loss')}{name}; {best.coordinates['dataset']}, nats per token"
        results.append(Card("lowest validation loss", decimal(fmean(head.values)), remark))
    for items in gather(runs, evidence.evaluations, evidence.shortcuts)[:1]:
        head = find_headline(runs, items)
        top = items.models[head.place]
        value = top.levels[ALL][1]
        of = _over(head, items.score) or _interval(items.score, value, top.levels[ALL][0], head.among)
        if of:
            remark = f"{of}{head.label or top.title}; {items.title}; chance {decimal(100 * items.chance, 0)} %"
            mean = f"{decimal(100 * fmean(head.values), 1)} %"
            text = mean if len(head.values) > 1 else percent(value.value, value.error)
            results.append(Card("right endings", text, remark))
    others = [metric for metric in METRICS.values() if metric.chance is None]
    for top, name in [best for metric in others for best in ranked_by(evidence, metric, metric.headline)[:1]]:
        head = top.headline(runs, name)
        of = _over(head, name) or _interval(
            name, top.scores[head.place], top.evaluations[head.place].raw["n"], head.among
        )
        if of:  # a figure that nothing tells the certainty of is no key figure
            remark = f"{of}{head.label or top.labels[head.place]}; {top.title}"
            results.append(Card(HEADINGS[name], score(name, fmean(head.values)), remark))
    compared = [probe for probe in evidence.parity if probe["within"] is not None]
    if compared:
        _, worst = nearest_probe(compared)
        count = len({probe["probe"] for probe in compared})
        within = count - len({probe["probe"] for probe in compared if not probe["within"]})
        remark = (
            f"of their references; nearest to its tolerance: {probe_label(worst, evidence.parity)} in "
            f"{worst['precision']}, {scientific(worst['largest'])} of {scientific(worst['tolerance'])}"
        )
        if all(is_bit_equal(probe) for probe in compared):
            remark = "all equal to the reference bit by bit"
        results.append(Card("probes within tolerance", f"{within} of {count}", remark, within < count))
    return results + _speed(evidence)


def _over(head: Headline, name: str) -> str:
    """That a value is a mean over seeds, and the 95 % interval of the mean; nothing where seeds say nothing."""
    if len(head.values) < 2:
        return "one seed; " if head.several else ""
    number = f"mean of {len(head.values)} seeds"
    found = mean_interval(head.values, name, head.among)
    if found is None:
        alike = ", all the same" if all_equal(head.values) else ""
        return f"{number}{alike}; "
    low, high = (decimal(end, 3) if name in LOSSES else score(name, end) for end in found)
    return f"{number}, 95 % interval over seeds {low} to {high}{describe_choice(head.among)}; "


def _interval(name: str, value: Score, n: int, among: int) -> str:
    """The 95 % interval of the best score of several; nothing where nothing tells it."""
    interval = correct_for_choice(value, name, n, among).interval
    if interval is None:
        return ""
    low, high = (score(name, end) for end in interval)
    return f"95 % interval {low} to {high}{describe_choice(among)}; "


def _speed(evidence: Evidence) -> list[Card]:
    """The highest measured speed: of a model that the study trains, where one was measured."""
    measured = [cell for cell in evidence.cells if cell["tokens_per_second"] is not None]
    trained = {run.coordinates["model"] for run in evidence.runs}
    candidates = [cell for cell in measured if cell["model"] in trained] or measured
    if not candidates:
        return []
    top = max(candidates, key=lambda cell: cell["tokens_per_second"])
    other = "" if top["model"] in trained or not trained else ", which this study does not train"
    among = len(candidates)
    ranking = next(each for each in rank_cells(candidates, among) if each.cells[0] is top)
    speed, interval = ranking.fastest, ""
    if speed.low is not None:
        interval = f"95 % interval {decimal(speed.low, 0)} to {decimal(speed.high, 0)}{describe_choice(among)}; "
    tied = [cell["parallel"] for cell in ranking.cells[1 : ranking.tied or 1]]
    ties = f"tied with {join_words(tied)}; " if tied else ""
    remark = f"{interval}{whole_label(top)}; {ties}random tokens, {describe_load(top)}"
    return [Card(f"tokens per second of {top['model']}{other}", decimal(top["tokens_per_second"], 0), remark)]
