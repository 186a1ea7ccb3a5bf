"""Which run is best for what training costs, in sentences."""

from trainyard.report.charts import Chart, loss_charts
from trainyard.report.costs import front
from trainyard.report.evidence import Evidence
from trainyard.report.format import listed, scientific


def leaders(evidence: Evidence) -> list[str]:
    """Up to how many FLOPs each run has the lowest validation loss, for each dataset and tokenizer of several runs."""
    said = []
    for chart in loss_charts(evidence.study, evidence.runs, None):
        spans = leading(chart)
        if len(chart.lines) < 2 or not spans:
            continue
        *before, (last, _) = spans
        if before:
            parts = [f"{name} up to {scientific(end)} FLOPs" for name, end in before]
            said.append(f"Lowest loss for its cost on {chart.title}: {listed([*parts, f'{last} beyond'])}.")
        else:
            said.append(f"{last} has the lowest loss on {chart.title} at every cost of training.")
    return said


def leading(chart: Chart) -> list[tuple[str, float]]:
    """The runs on the front of quality against FLOPs, from cheap to dear, and where another takes over for good.

    Empty where a run has no FLOPs. The last one's end is where its own line ends.
    """
    points = [(point.cost.flops, point.score.value, line.label) for line in chart.lines for point in line.points]
    if any(flops is None for flops, _, _ in points):
        return []
    costs = [(flops or 0.0, value) for flops, value, _ in points]
    places = front(costs, chart.high)
    last = {points[place][2]: rank for rank, place in enumerate(places)}
    ends = sorted(last.items(), key=lambda item: item[1])
    return [(name, costs[places[min(rank + 1, len(places) - 1)]][0]) for name, rank in ends]
