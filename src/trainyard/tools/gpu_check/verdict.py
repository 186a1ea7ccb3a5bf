"""From what the processes wrote to what it means."""

import math
from collections.abc import Mapping
from typing import Any

from trainyard.estimate.memory import against, predict_execution
from trainyard.measure.parity import judge, tolerance
from trainyard.tools.gpu_check.cases import Case, reference_name


def judged(case: Case, row: Mapping[str, Any] | None, references: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The whole row of a case: what it is, what came of it, and `right`: whether that is as it should be.

    `right` is None for what was not run and for an experiment; memory that runs out is right unless a
    small model's parity is at stake, and is what it should be where a case is made for it.
    """
    told = case.specification
    found: dict[str, Any] = {
        "name": case.name,
        "kind": case.kind,
        "model": told["model"]["name"],
        "parallel": told["parallel"]["name"],
        **{name: told[name] for name in ("precision", "processes", "batch", "sequence_length")},
        "memory_limit": told.get("memory_limit"),
        "experiment": case.experiment,
        "outcome": "not run",
        "reason": "time",
        "right": None,
    }
    if case.unsupported is not None:
        return found | {"outcome": "unsupported", "reason": case.unsupported}
    if case.kind not in ("reference", "parity"):
        found |= _prediction(told, row or {})
    if row is None:
        return found
    found |= row
    if case.kind == "parity":
        found |= _parity(case, row, references.get(reference_name(told)))
    elif case.kind in ("limit", "too-large"):
        found["right"] = row["outcome"] == "out-of-memory"
        found["reason"] = row["reason"] or "it should have run out of memory, and did not"
    else:
        found["right"] = row["outcome"] == "finished" or (case.kind == "measure" and row["outcome"] == "out-of-memory")
    return found | {"right": None if case.experiment else found["right"]}


def _prediction(told: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    """The memory that a process should need, and how far off what was measured that is."""
    measured = row.get("host_memory_increase" if told["device"] == "cpu" else "peak_device_memory")
    return against(predict_execution(told), measured)


def _parity(case: Case, row: Mapping[str, Any], reference: Mapping[str, Any] | None) -> dict[str, Any]:
    told = case.specification
    limit = tolerance(told["parallel"], told["precision"], told["device"])
    found: dict[str, Any] = {"tolerance": limit.difference, "tolerance_reason": limit.reason, "within": None}
    if row["outcome"] != "finished":
        return found | {"right": False}
    if reference is None or reference["outcome"] != "finished":
        return found | {"reason": "its reference has no losses"}
    differences = [abs(ours - theirs) for ours, theirs in zip(row["losses"], reference["losses"], strict=True)]
    if not all(math.isfinite(difference) for difference in differences):
        losses = [loss if math.isfinite(loss) else None for loss in row["losses"]]
        return found | {"losses": losses, "reason": "a loss is not finite", "within": False, "right": False}
    found |= judge(differences, limit)
    reason = None if found["within"] else f"differs by {found['largest']:.1e}, more than {limit.difference:g}"
    return found | {"reason": reason, "right": found["within"]}
