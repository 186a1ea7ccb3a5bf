"""Cells that several tables share: outcomes, scores and verdicts."""

from collections.abc import Sequence
from typing import Any

from trainyard.core.statistics import Score
from trainyard.report.render.format import PERCENT, POINTS, percent, scientific, score
from trainyard.report.render.html import Cell
from trainyard.report.results.probes import is_bit_equal, name_reference
from trainyard.report.statistics.seeds import LOSSES, compute_spread

BADGES = {"finished": "good", "diverged": "bad", "out-of-memory": "bad", "failed": "bad", "unsupported": "warn"}
SEEDS = "Runs that differ only in their seed: mean ± sample standard deviation"
SAME = "equal bit by bit"


def outcome_cell(outcome: str, reason: str | None) -> Cell:
    """An outcome as a badge, with its reason."""
    return Cell(outcome, outcome, {"reason": reason}, tip=reason or "", kind=BADGES.get(outcome, "plain"))


def score_cell(name: str, value: Score, rivals: str = "", tip: str = "", remark: str = "", **more: Any) -> Cell:
    """A score with its standard error and its 95 % interval, where there are any."""
    digits = _digits(name, value)
    lines = [f"± {score(name, value.error, digits)}"] if value.error else []
    low, high = value.interval or (None, None)
    if low is not None:
        lines.append(f"[{score(name, low, digits)}, {score(name, high, digits)}]")
    raw = {"standard_error": value.error or None, "low": low, "high": high, **more}
    detail = "\n".join([*lines, remark] if remark else lines)
    return Cell(score(name, value.value, digits), value.value, raw, tip, rivals=rivals, detail=detail)


def spread_cell(name: str, values: Sequence[float], tip: str = "") -> Cell:
    """The mean of two or more seeds with their sample standard deviation; in the CSV the mean's error and interval."""
    summary = compute_spread(values)
    assert summary is not None
    digits = _digits(name, Score(summary.mean, summary.deviation))
    raw = {"standard_deviation": summary.deviation, "seeds": summary.n}
    raw |= {"standard_error": summary.standard_error, "low": summary.low, "high": summary.high}
    each = ", ".join(score(name, value, digits) for value in sorted(values))
    text = f"{summary.n} seeds: {each}"
    if summary.low is None:
        return Cell(
            score(name, summary.mean, digits), summary.mean, raw, f"{tip}\n{text}".strip(), detail="all the same"
        )
    text += f"; 95 % interval of the mean {score(name, summary.low, digits)} to {score(name, summary.high, digits)}"
    detail = f"± {score(name, summary.deviation, digits)}"
    return Cell(score(name, summary.mean, digits), summary.mean, raw, f"{tip}\n{text}".strip(), detail=detail)


def _digits(name: str, value: Score) -> int | None:
    """One decimal of points, three of a loss; more of others where the error would read as zero."""
    if name in POINTS:
        return 1
    if name in LOSSES:
        return 3
    error = (value.error or 0.0) * (100 if name in PERCENT else 1)
    return None if error == 0 or error >= 0.01 else 4


def verdict_cell(probe: dict[str, Any]) -> Cell:
    """Whether a probe stayed within its tolerance, as a badge with the largest difference."""
    if probe["within"] is None:
        text = "no result" if probe["outcome"] == "finished" else probe["outcome"]
        kind = "plain" if probe["outcome"] == "finished" else BADGES.get(probe["outcome"], "plain")
        return Cell(text, None, tip=probe["reason"] or "", kind=kind)
    tip = (
        f"largest difference from {name_reference(probe)} over {probe['compared_steps']} steps on {probe['model']}, "
        f"{probe['processes']} processes; tolerance {scientific(probe['tolerance'])}: {probe['tolerance_reason']}"
    )
    if probe["norm"] is not None:
        norm, most = percent(probe["norm"], None), percent(probe["norm_tolerance"], None)
        tip += f"; largest difference of the gradient norm {norm}, tolerance {most}"
    text = f"{scientific(probe['largest'])} {'within' if probe['within'] else 'outside'}"
    if is_bit_equal(probe):
        text = SAME
    more = {"tolerance": probe["tolerance"], "within": probe["within"]}
    return Cell(text, probe["largest"], more, tip, "good" if probe["within"] else "bad")
