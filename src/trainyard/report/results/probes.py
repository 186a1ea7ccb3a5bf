"""What is said of probes: their names, and how near to their references they stayed."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from trainyard.core.files import read_json
from trainyard.report.render.format import join_words, plural, scientific


def read_comparisons(paths: Iterable[Path]) -> list[dict[str, Any]]:
    """The comparisons of every probe in these parity.json."""
    return [row for path in paths for row in list_comparisons(read_json(path))]


def list_comparisons(probe: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for each reference of a probe: its parity.json with `against`, the precision of the reference.

    The first is fp32's; a probe in bf16 or fp16 has another, of its own precision.
    """
    rows = [{**probe, "against": "fp32"}]
    if probe["same_precision"]:
        rows.append({**probe, **probe["same_precision"], "against": probe["precision"]})
    return rows


def name_reference(probe: dict[str, Any]) -> str:
    """`the reference`, which is in fp32, or `the reference in bf16`."""
    return "the reference" if probe["against"] == "fp32" else f"the reference in {probe['against']}"


def is_bit_equal(probe: dict[str, Any]) -> bool:
    """Whether every compared loss of a probe is the reference's own to the last bit."""
    return probe["largest"] == 0 and not probe["norm"]


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
        return f"{scientific(allowed[0][0])} of {name_reference(probes[0])} over {plural(allowed[0][1], 'step')}"
    each = [f"{scientific(tolerance)} over {plural(steps, 'step')}" for tolerance, steps in allowed]
    return f"their tolerance of {name_reference(probes[0])}, {join_words(each)}"


def nearest_probe(probes: Sequence[dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    """The compared probe that is nearest to its tolerance, after the words for it."""
    word = "largest" if len({probe["tolerance"] for probe in probes}) == 1 else "nearest to its own"
    return word, max(probes, key=nearness)


def nearness(probe: dict[str, Any]) -> float:
    """How much of its tolerance of the loss a compared probe takes: 1 at the tolerance."""
    return probe["largest"] / probe["tolerance"]


def describe_excess(probe: dict[str, Any]) -> str:
    """How far a probe outside its tolerance is from the reference: its loss, or where that is within, its gradient."""
    if probe["largest"] > probe["tolerance"]:
        text = f"{scientific(probe['largest'])}, outside its tolerance of {scientific(probe['tolerance'])}"
    else:
        text = (
            f"{100 * probe['norm']:.1f} % in the norm of its gradient, outside its tolerance of "
            f"{100 * probe['norm_tolerance']:.1f} %"
        )
    return text if probe["against"] == "fp32" else f"{text}, from {name_reference(probe)}"
