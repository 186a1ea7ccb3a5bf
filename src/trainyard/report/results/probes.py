"""What is said of probes: their names, and how near to the reference they stayed."""

from collections.abc import Sequence
from typing import Any

from trainyard.report.render.format import join_words, plural, scientific


def is_bit_equal(probe: dict[str, Any]) -> bool:
    """Whether every compared loss of a probe is the reference's own to the last bit."""
    return probe["largest"] == 0


def probe_label(probe: dict[str, Any], probes: Sequence[dict[str, Any]]) -> str:
    """The parallel setting, with model, dataset and number of processes where probes differ in them."""
    parts = [probe["parallel"]]
    parts += [probe[key] for key in ("model", "dataset") if len({other[key] for other in probes}) > 1]
    same = {other["processes"] for other in probes if other["parallel"] == probe["parallel"]}
    return " · ".join([*parts, f"{probe['processes']} processes"] if len(same) > 1 else parts)


def describe_tolerance(probes: Sequence[dict[str, Any]]) -> str:
    """What compared probes are held to: `1e-6 of the reference over 100 steps`, or each tolerance with its steps."""
    allowed = sorted({(probe["tolerance"], probe["compared_steps"]) for probe in probes})
    if len(allowed) == 1:
        return f"{scientific(allowed[0][0])} of the reference over {plural(allowed[0][1], 'step')}"
    each = [f"{scientific(tolerance)} over {plural(steps, 'step')}" for tolerance, steps in allowed]
    return f"their tolerance of the reference, {join_words(each)}"


def nearest_probe(probes: Sequence[dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    """The compared probe that is nearest to its tolerance, after the words for it."""
    word = "largest" if len({probe["tolerance"] for probe in probes}) == 1 else "nearest to its own"
    return word, max(probes, key=lambda probe: probe["largest"] / probe["tolerance"])
