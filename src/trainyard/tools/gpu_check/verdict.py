"""From what the processes wrote to what it means."""

import math
from collections.abc import Mapping
from typing import Any

from trainyard.estimate.memory import compare_prediction, predict_execution
from trainyard.measure.parity import find_tolerance, judge
from trainyard.tools.gpu_check.cases import Case, reference_name


def judge_case(
    case: Case, row: Mapping[str, Any] | None, references: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """The whole row of a case: what it is, what came of it, and `right`: whether that is as it should be.

    `right` is None for what was not run and for an experiment; memory that runs out is right unless a
    small model's parity is at stake, and is what it should be where a case is made for it.
    """
    specification = case.specification
    results: dict[str, Any] = {
        "name": case.name,
        "kind": case.kind,
        "model": specification["model"]["name"],
        "parallel": specification["parallel"]["name"],
        **{name: specification[name] for name in ("precision", "processes", "batch", "sequence_length")},
        "compiled": specification["train"]["compile"],
        "without": specification.get("without"),
        "memory_limit": specification.get("memory_limit"),
        "experiment": case.experiment,
        "outcome": "not run",
        "reason": "time",
        "right": None,
    }
    if case.unsupported is not None:
        return results | {"outcome": "unsupported", "reason": case.unsupported}
    if case.kind not in ("reference", "parity"):
        results |= _prediction(specification, row or {})
    if row is None:
        return results
    results |= row
    if case.kind == "parity":
        results |= _parity(case, row, references.get(reference_name(specification)))
    elif case.kind in ("limit", "too-large"):
        results["right"] = row["outcome"] == "out-of-memory"
        results["reason"] = row["reason"] or "it should have run out of memory, and did not"
    else:
        results["right"] = row["outcome"] == "finished" or (
            case.kind in ("measure", "operators") and row["outcome"] == "out-of-memory"
        )
    return results | {"right": None if case.experiment else results["right"]}


def _prediction(specification: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    """The memory that a process should need, and how far off what was measured that is."""
    measured = row.get("host_memory_increase" if specification["device"] == "cpu" else "peak_device_memory")
    return compare_prediction(predict_execution(specification), measured)


def _parity(case: Case, row: Mapping[str, Any], reference: Mapping[str, Any] | None) -> dict[str, Any]:
    specification = case.specification
    limit = find_tolerance(specification["parallel"], specification["precision"], specification["device"])
    results: dict[str, Any] = {"tolerance": limit.difference, "tolerance_reason": limit.reason, "within": None}
    if row["outcome"] != "finished":
        return results | {"right": False}
    if reference is None or reference["outcome"] != "finished":
        return results | {"reason": "its reference has no losses"}
    differences = [abs(ours - theirs) for ours, theirs in zip(row["losses"], reference["losses"], strict=True)]
    if not all(math.isfinite(difference) for difference in differences):
        losses = [loss if math.isfinite(loss) else None for loss in row["losses"]]
        return results | {"losses": losses, "reason": "a loss is not finite", "within": False, "right": False}
    results |= judge(differences, limit)
    reason = None if results["within"] else f"differs by {results['largest']:.1e}, more than {limit.difference:g}"
    return results | {"reason": reason, "right": results["within"]}
