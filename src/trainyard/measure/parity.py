"""How far the loss of a probe is from that of its reference, step by step."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainyard.config.catalogue import Precision
from trainyard.core.errors import InputError
from trainyard.core.files import read_json, read_json_lines, write_json


@dataclass(frozen=True)
class Tolerance:
    """How far the losses of a probe may stray from its reference's.

    Attributes:
        difference: in nats per token.
        steps: how many first steps are compared; None: all of them.
        reason: why so far and no farther.
    """

    difference: float
    steps: int | None
    reason: str


TOLERANCES: dict[Precision, Tolerance] = {
    "fp32": Tolerance(
        1e-6,
        None,
        "the same micro-batches are summed in the same order, so only the last bit of a loss of 4 to 11 nats (5e-7 to "
        "1e-6 in fp32) may differ",
    ),
    "bf16": Tolerance(
        2e-2,
        20,
        "bf16 keeps 8 bits, so a number is off by up to a part of 2^-9: of a loss of 4 to 11 nats 0.01 to 0.02; the "
        "reference has fp32, and training magnifies a difference, so that later steps say nothing of a setting",
    ),
    "fp16": Tolerance(
        1e-2,
        20,
        "fp16 keeps 11 bits, so a number is off by up to a part of 2^-12: of a loss of 4 to 11 nats 0.001 to 0.003, "
        "which twenty steps of training magnify some times; a first step that the loss scale skips costs more, and "
        "is counted",
    ),
}
SHARED_MATRICES = Tolerance(
    5e-4,
    20,
    "processes that share a matrix add up its products in another order than one process does, from the first step "
    "on: where a unit of ReLU is thereby on in one run and off in the other, twenty steps magnify the last bit "
    "hundreds of times (1.3e-4 measured in T5, under 1e-6 in the other families)",
)
LAID_OUT_BLOCKS = Tolerance(
    1e-5,
    20,
    "a pipeline cuts a batch into pieces of its own, and both its ends sum the gradient of a shared embedding before "
    "the two are added: another order than one process's, which rounds a loss otherwise in its last bits (under 1e-6 "
    "measured in 20 steps), and which OPT's ReLU magnifies to 3e-4 by step 60",
)
FP32_ON_GPU = Tolerance(
    1e-5,
    20,
    "on a GPU a setting's kernels may add in another order than the reference's (a gradient laid flat, a state that "
    "the CPU updates, NCCL's rings): each step rounds a loss of 6 nats otherwise in its last bits (5e-7 each), and "
    "training magnifies that over 20 steps; TF32 is off",
)


def find_tolerance(parallel: Mapping[str, Any], precision: Precision, device: str = "cpu") -> Tolerance:
    """What a parallel setting (as spec.json has it) is allowed: its precision's tolerance, or one for what it rounds.

    In fp32 three things leave the reference's arithmetic: `tensor` and `pipeline` above one, and a GPU. In bf16 and
    fp16 all drown in the precision's own rounding.
    """
    if precision == "fp32" and parallel["tensor"] > 1:
        return SHARED_MATRICES
    if precision == "fp32" and parallel["pipeline"] > 1:
        return LAID_OUT_BLOCKS
    if precision == "fp32" and device == "cuda":
        return FP32_ON_GPU
    return TOLERANCES[precision]


def compare(probe: Path, reference: Path, output: Path) -> None:
    """Write parity.json: the difference of the losses of two runs' folders.

    A probe that did not finish, or whose reference did not, has null figures with the
    reason. `largest`, `mean`, `within` and `skipped_steps` (by fp16's loss scale) are over
    the compared steps; `by_step` holds every step's difference.

    Raises:
        InputError: the two have unequal numbers of steps, or took other tokens.
    """
    specification, summary = read_json(probe / "spec.json"), read_json(probe / "summary.json")
    allowed = find_tolerance(specification["parallel"], specification["precision"], specification["device"])
    results: dict[str, Any] = {
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
        "compared_steps": None,
        "skipped_steps": None,
        "largest": None,
        "mean": None,
        "by_step": [],
        "tolerance": allowed.difference,
        "tolerance_reason": allowed.reason,
        "within": None,
    }
    other = read_json(reference / "summary.json")
    if other["outcome"] != "finished" and results["reason"] is None:
        results["reason"] = f"its reference ended as {other['outcome']}: {other['reason']}"
    if summary["outcome"] == other["outcome"] == "finished":
        results |= judge(loss_differences(probe / "metrics.jsonl", reference / "metrics.jsonl"), allowed)
        compared = read_json_lines(probe / "metrics.jsonl")[: results["compared_steps"]]
        results["skipped_steps"] = sum(row.get("skipped", False) for row in compared)
    write_json(output, results)


def judge(differences: Sequence[float], allowed: Tolerance) -> dict[str, Any]:
    """The largest and the mean of the compared differences, and whether they stay within what is allowed."""
    compared = differences[: allowed.steps]
    return {
        "compared_steps": len(compared),
        "largest": max(compared),
        "mean": statistics.fmean(compared),
        "by_step": list(differences),
        "within": max(compared) <= allowed.difference,
    }


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
