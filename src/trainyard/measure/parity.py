"""How far the loss of a probe is from that of its references, step by step."""

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
        norm: how far their gradient norms may stray, as a part of the reference's; None: they are not compared.
    """

    difference: float
    steps: int | None
    reason: str
    norm: float | None = None


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

SAME_PRECISION: dict[Precision, Tolerance] = {
    "bf16": Tolerance(
        8e-3,
        20,
        "settings that hold weights in bf16, or share matrices, round where one process under autocast does not: in 20 "
        "steps this moves a loss by up to 4.4e-3 and a gradient norm by up to 0.9 % (measured)",
        norm=2e-2,
    ),
    "fp16": Tolerance(
        3e-3,
        20,
        "settings that hold weights in fp16, or share matrices, round where one process under autocast does not: in 20 "
        "steps this moves a loss by up to 1e-3 and a gradient norm by up to 0.6 % (measured)",
        norm=1.5e-2,
    ),
}


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


def compare(probe: Path, reference: Path, same_precision: Path | None, output: Path) -> None:
    """Write parity.json: the difference of the losses of two runs' folders.

    A probe that did not finish, or whose reference did not, has null figures with the
    reason. `largest`, `mean`, `within` and `skipped_steps` (by fp16's loss scale) are over
    the compared steps; `by_step` holds every step's difference. `same_precision` holds the
    same figures against the reference in the probe's own precision, with `norm`, the largest
    difference of the gradient norm as a part of the reference's.

    Args:
        probe: the folder of the probe.
        reference: that of its reference in fp32.
        same_precision: that of the one in the probe's precision, if that is not fp32.
        output: parity.json.

    Raises:
        InputError: two have unequal numbers of steps, or took other tokens.
    """
    specification, summary = read_json(probe / "spec.json"), read_json(probe / "summary.json")
    precision: Precision = specification["precision"]
    allowed = find_tolerance(specification["parallel"], precision, specification["device"])
    results: dict[str, Any] = {
        "study": specification["study"],
        "probe": specification["run"],
        "parallel": specification["parallel"]["name"],
        "precision": precision,
        "processes": specification["processes"],
        "dataset": specification["dataset"],
        "model": specification["model"]["name"],
        "outcome": summary["outcome"],
        "steps": summary["steps"],
        "skipped_steps": None,
        **_compare_with(reference, probe, summary, allowed),
        "same_precision": None,
    }
    if same_precision:
        results["same_precision"] = _compare_with(same_precision, probe, summary, SAME_PRECISION[precision])
    if results["compared_steps"] is not None:
        compared = read_json_lines(probe / "metrics.jsonl")[: results["compared_steps"]]
        results["skipped_steps"] = sum(row.get("skipped", False) for row in compared)
    write_json(output, results)


def _compare_with(reference: Path, probe: Path, summary: Mapping[str, Any], allowed: Tolerance) -> dict[str, Any]:
    """The figures of a probe against one reference."""
    results: dict[str, Any] = {
        "reference": read_json(reference / "spec.json")["run"],
        "reason": summary["reason"],
        "compared_steps": None,
        "largest": None,
        "mean": None,
        "by_step": [],
        "tolerance": allowed.difference,
        "tolerance_reason": allowed.reason,
        "norm": None,
        "norm_tolerance": allowed.norm,
        "within": None,
    }
    other = read_json(reference / "summary.json")
    if other["outcome"] != "finished" and results["reason"] is None:
        results["reason"] = f"its reference ended as {other['outcome']}: {other['reason']}"
    if summary["outcome"] == other["outcome"] == "finished":
        ours, theirs = probe / "metrics.jsonl", reference / "metrics.jsonl"
        results |= judge(loss_differences(ours, theirs), allowed, norm_differences(ours, theirs))
    return results


def judge(differences: Sequence[float], allowed: Tolerance, norms: Sequence[float] = ()) -> dict[str, Any]:
    """The largest and the mean of the compared differences, and whether they stay within what is allowed.

    Args:
        differences: of the loss, a step.
        allowed: the tolerance.
        norms: of the gradient norm, a step, as a part of the reference's; for a tolerance that holds norms.
    """
    compared = differences[: allowed.steps]
    results = {
        "compared_steps": len(compared),
        "largest": max(compared),
        "mean": statistics.fmean(compared),
        "by_step": list(differences),
        "within": max(compared) <= allowed.difference,
    }
    if allowed.norm is not None:
        results["norm"] = max(norms[: allowed.steps])
        results["within"] &= results["norm"] <= allowed.norm
    return results


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


def norm_differences(probe: Path, reference: Path) -> list[float]:
    """The absolute difference of the gradient norms of each step of two metrics.jsonl, as a part of the reference's.

    It is 0 at a step whose gradient overflowed in fp16: that is counted as a skipped one.
    """
    rows = zip(read_json_lines(probe), read_json_lines(reference), strict=True)
    pairs = [(row["gradient_norm"], other["gradient_norm"]) for row, other in rows]
    return [abs(ours / theirs - 1) if ours is not None and theirs else 0.0 for ours, theirs in pairs]
