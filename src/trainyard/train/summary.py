"""summary.json: how a run ended, and its measurements."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from trainyard.core.code_versions import CodeVersion
from trainyard.core.percentiles import percentiles
from trainyard.train.metrics import Row
from trainyard.train.row_losses import BEST, LAST

WARMUP_ROWS = 3
LAST_STEPS = 10


def steady_rows(rows: list[Row]) -> list[Row]:
    """The rows without the first steps, in which caches fill and kernels compile; all of a very short run."""
    return rows[WARMUP_ROWS:] if len(rows) > WARMUP_ROWS else rows


def _speed(rows: list[Row]) -> dict[str, Any]:
    """Throughput and the time of a step."""
    if not rows:
        return {"tokens_per_second": None, "step_seconds": None}
    steady = steady_rows(rows)
    return {
        "tokens_per_second": statistics.median(row["tokens_per_second"] for row in steady),
        "step_seconds": percentiles([row["step_seconds"] for row in steady]),
    }


def find_validations(rows: Sequence[Row]) -> dict[str, Row]:
    """The rows of the best and the last validation; empty where nothing was validated."""
    validated = [row for row in rows if "validation_loss" in row]
    return {BEST: min(validated, key=lambda row: row["validation_loss"]), LAST: validated[-1]} if validated else {}


def _largest(values: list[int | None]) -> int | None:
    return max((value for value in values if value is not None), default=None)


def summarise(
    specification: dict[str, Any],
    started: dict[str, Any],
    rows: list[Row],
    outcome: dict[str, Any],
    models: list[str],
    versions: Sequence[CodeVersion] = (),
    energy: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The content of summary.json.

    Args:
        specification: spec.json.
        started: what the trainer found out when it started; empty if it never did.
        rows: metrics.jsonl.
        outcome: `outcome`, `reason` and what was known only at the end.
        models: the names of the models that are kept.
        versions: of the code that trained it.
        energy: what all attempts have taken of the machine; None if nothing was started.
    """
    validations = find_validations(rows)
    best = validations.get(BEST)
    last = rows[-LAST_STEPS:]
    return {
        "study": specification["study"],
        "run": specification["run"],
        "kind": specification["kind"],
        "outcome": outcome["outcome"],
        "reason": outcome["reason"],
        "steps": len(rows),
        "planned_steps": started.get("steps"),
        "tokens": rows[-1]["tokens"] if rows else 0,
        "computed_tokens": rows[-1].get("computed_tokens") if rows else None,
        "padding_tokens": rows[-1].get("padding_tokens") if rows else None,
        "training_loss": statistics.fmean(row["loss"] for row in last) if last else None,
        "validation_loss": validations[LAST]["validation_loss"] if validations else None,
        "best": {"step": best["step"], "validation_loss": best["validation_loss"]} if best else None,
        **_speed(rows),
        "flops_per_token": started.get("flops_per_token"),
        "mfu_formula": started.get("mfu_formula"),
        "device_name": started.get("device_name"),
        "peak_device_memory": _largest([outcome.get("peak_device_memory"), *(row["device_memory"] for row in rows)]),
        "peak_host_memory": _largest([outcome.get("peak_host_memory"), *(row["host_memory"] for row in rows)]),
        "elapsed_seconds": rows[-1]["elapsed_seconds"] if rows else 0.0,
        "parameters": started.get("parameters"),
        "trained_parameters": started.get("trained_parameters"),
        "timing": "shared",  # other jobs run beside it: its speed is no measurement
        "models": models,
        "energy": energy,
        "code_versions": [asdict(version) for version in versions],
    }
