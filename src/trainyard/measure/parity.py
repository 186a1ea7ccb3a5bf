"""How far the loss of a probe is from that of its reference, step by step."""

import statistics
from pathlib import Path
from typing import Any

from trainyard.config.catalogue import Precision
from trainyard.errors import InputError
from trainyard.files import read_json, read_json_lines, write_json

TOLERANCES: dict[Precision, tuple[float, str]] = {
    "fp32": (
        1e-6,
        "the same micro-batches are summed in the same order, so only the last bit of a loss of 4 to 11 nats (5e-7 to "
        "1e-6 in fp32) may differ",
    ),
    "bf16": (
        5e-2,
        "bf16 keeps 8 bits: a part of 2^-8 of a loss of 4 to 11 nats is 0.02 to 0.04, and the reference has fp32",
    ),
    "fp16": (
        5e-2,
        "fp16 keeps 11 bits, but its loss scale may skip first steps that the fp32 reference takes: it is allowed "
        "what bf16 is",
    ),
}


def compare(probe: Path, reference: Path, output: Path) -> None:
    """Write parity.json: the difference of the losses of two runs' folders.

    A probe that did not finish, or whose reference did not, has null figures with the
    reason.

    Raises:
        InputError: the two have unequal numbers of steps, or took other tokens.
    """
    specification, summary = read_json(probe / "spec.json"), read_json(probe / "summary.json")
    tolerance, why = TOLERANCES[specification["precision"]]
    found: dict[str, Any] = {
        "study": specification["study"],
        "probe": specification["run"],
        "reference": read_json(reference / "spec.json")["run"],
        "parallel": specification["parallel"]["name"],
        "precision": specification["precision"],
        "processes": specification["processes"],
        "dataset": specification["dataset"],
        "model": specification["model"]["name"],
        "outcome": summary["outcome"],
        "reason": summary["reason"],
        "steps": summary["steps"],
        "largest": None,
        "mean": None,
        "by_step": [],
        "tolerance": tolerance,
        "tolerance_reason": why,
        "within": None,
    }
    other = read_json(reference / "summary.json")
    if other["outcome"] != "finished" and found["reason"] is None:
        found["reason"] = f"its reference ended as {other['outcome']}: {other['reason']}"
    if summary["outcome"] == other["outcome"] == "finished":
        differences = loss_differences(probe / "metrics.jsonl", reference / "metrics.jsonl")
        largest = max(differences)
        found |= {
            "largest": largest,
            "mean": statistics.fmean(differences),
            "by_step": differences,
            "within": largest <= tolerance,
        }
    write_json(output, found)


def loss_differences(probe: Path, reference: Path) -> list[float]:
    """The absolute difference of the losses of each step, of two metrics.jsonl.

    Raises:
        InputError: the two have unequal numbers of steps, or took other tokens.
    """
    ours, theirs = read_json_lines(probe), read_json_lines(reference)
    if not ours or [row["tokens"] for row in ours] != [row["tokens"] for row in theirs]:
        raise InputError(
            f"{probe} ({len(ours)} steps) and {reference} ({len(theirs)} steps) did not take the same tokens step by "
            "step; delete both folders and run again"
        )
    return [abs(row["loss"] - other["loss"]) for row, other in zip(ours, theirs, strict=True)]
