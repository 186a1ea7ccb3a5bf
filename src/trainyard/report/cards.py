"""The key figures of a study."""

from dataclasses import dataclass

from trainyard.report.evidence import Evidence, by_data, ranked
from trainyard.report.format import duration, fixed, percent, scientific, score
from trainyard.report.items import ALL, gather
from trainyard.report.measured import cell_label
from trainyard.report.measured import varying as varying_cells
from trainyard.report.probes import nearest, probe_label, same_bits
from trainyard.report.results import label, telling


@dataclass(frozen=True)
class Card:
    """One key figure."""

    title: str
    value: str
    remark: str
    failed: bool = False


def cards(evidence: Evidence) -> list[Card]:
    """The key figures of a study."""
    found = []
    runs = evidence.runs
    if runs:
        finished = [run for run in runs if run.finished]
        spent = sum(run.summary["elapsed_seconds"] or 0.0 for run in runs)
        failed = len(finished) < len(runs)
        found.append(Card("runs finished", f"{len(finished)} of {len(runs)}", f"{duration(spent)} of training", failed))
    groups = by_data(runs)
    largest = max(groups.values(), key=len, default=[])
    if len(groups) == 1 or len(largest) > 1:
        loss, best = largest[0]
        remark = f"{label(best, telling([run for _, run in largest]))}; {best.coordinates['dataset']}, nats a token"
        found.append(Card("lowest validation loss", fixed(loss), remark))
    for items in gather(runs, evidence.evaluations, evidence.shortcuts)[:1]:
        top = items.models[0]
        value = top.levels[ALL][1]
        low, high = (fixed(100 * end, 1) for end in value.interval)
        remark = f"95 % interval {low} to {high}; {top.title}; {items.title}; chance {fixed(100 * items.chance, 0)} %"
        found.append(Card("right endings", percent(value.value, value.error), remark))
    for metric, name, title in (("perplexity", "perplexity_word", "perplexity a word"), ("rouge", "rougeL", "ROUGE-L")):
        for top in ranked(evidence, metric, name)[:1]:
            low, high = (score(name, end) for end in top.scores[0].interval)
            remark = f"95 % interval {low} to {high}; {top.labels[0]}; {top.title}"
            found.append(Card(title, score(name, top.scores[0].value), remark))
    compared = [probe for probe in evidence.parity if probe["within"] is not None]
    if compared:
        _, worst = nearest(compared)
        within = sum(probe["within"] for probe in compared)
        remark = (
            f"of the reference; nearest to its tolerance: {probe_label(worst, evidence.parity)} in "
            f"{worst['precision']}, {scientific(worst['largest'])} of {scientific(worst['tolerance'])}"
        )
        if all(same_bits(probe) for probe in compared):
            remark = "all equal to the reference bit by bit"
        found.append(Card("probes within tolerance", f"{within} of {len(compared)}", remark, within < len(compared)))
    measured = [cell for cell in evidence.cells if cell["tokens_per_second"] is not None]
    if measured:
        top_cell = max(measured, key=lambda cell: cell["tokens_per_second"])
        remark = f"{cell_label(top_cell, varying_cells(evidence.cells))}, alone on the machine"
        found.append(Card("tokens a second", fixed(top_cell["tokens_per_second"], 0), remark))
    return found
