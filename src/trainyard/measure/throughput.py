"""One launch of a cell, for speed and memory, or the search for the largest batch that fits, on random tokens."""

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from trainyard.config.catalogue import Model
from trainyard.core.failure_counts import FAILED, record_failure
from trainyard.core.files import read_json, write_json
from trainyard.core.text import utc_now
from trainyard.estimate.memory import compare_prediction, predict_execution
from trainyard.launch.launch import LaunchError, launch
from trainyard.measure import worker
from trainyard.measure.machine_load import OtherLoad

COORDINATES = (
    "study",
    "cell",
    "kind",
    "processes",
    "precision",
    "batch",
    "sequence_length",
    "memory_limit",
)
TRAIN_COORDINATES = ("activation_checkpointing", "compile", "tf32", "freeze")
RESULT_KEYS = (
    "step_seconds",
    "tokens_per_second",
    "samples_per_second",
    "peak_memory",
    "peak_memory_increase",
    "memory_kind",
    "ranks",
    "memory_by_step",
    "tflops",
    "tflops_formula",
    "tflops_megatron",
    "tflops_megatron_formula",
    "mfu_formula",
    "breakdown",
    "breakdown_reason",
    "device_name",
    "other_load",
)


@dataclass(frozen=True)
class Result:
    """How a cell ended: finished with its measurements, or out of memory, unsupported or failed with the reason."""

    outcome: str
    reason: str | None = None
    figures: dict[str, Any] = field(default_factory=dict)


def measure(
    cell: dict[str, Any],
    output: Path,
    log: Path,
    unsupported: str | None = None,
    python: str = sys.executable,
    nodes: int = 1,
) -> None:
    """Launch a cell once, or search for its largest batch, and write the file of that.

    Memory that runs out and a framework that crashes are outcomes, with null figures.

    Args:
        cell: kind (cell, search), study, cell, launch (its number, from 1), model and parallel (catalogue entries with
            their names), processes, threads (a process), device, precision, batch (sequences per process, or a copy
            of the model), sequence_length, train (the settings of a training), memory_limit; steps, warmup_steps and
            profiled_steps, or in a search `search` with smallest, largest and steps.
        output: the file to write; what the cell swaps to a disk lies beside it meanwhile.
        log: takes what the processes print.
        unsupported: why this machine can't do it, if so; then nothing is started.
        python: the interpreter that has the packages of the parallel setting.
        nodes: of the SLURM job that this process is the script of; 1: all processes are on this machine.

    Raises:
        LaunchError: a process failed in any other way.
    """
    launcher = _Launcher(output.with_suffix(".measuring"), log, python, nodes)
    row = {name: cell[name] for name in COORDINATES} | {name: cell["train"][name] for name in TRAIN_COORDINATES}
    row |= {name: cell["train"].get(name) for name in ("lora", "attention")}
    row |= {name: cell.get(name) for name in ("steps", "warmup_steps", "launch")} | {"started": utc_now()}
    row |= {"model": cell["model"]["name"], "parallel": cell["parallel"]["name"], "dropout": _dropout(cell)}
    if cell["kind"] == "search":
        result, search_keys = _search(cell, launcher, unsupported)
        row |= search_keys
    else:
        result = launcher.attempt(cell) if unsupported is None else Result("unsupported", unsupported)
    row |= {"outcome": result.outcome, "reason": result.reason}
    row |= dict.fromkeys(RESULT_KEYS) | result.figures | {"timing": "alone"}
    predicted = predict_execution(cell) if result.outcome != "unsupported" else None
    write_json(output, row | compare_prediction(predicted, result.figures.get("peak_memory_increase")))
    if result.outcome == FAILED:
        record_failure(output, result.reason or "")


def _dropout(cell: dict[str, Any]) -> float:
    """The rate that the cell trains with, as its study's runs do: the settings', or the model's own."""
    rate = cell["train"]["dropout"]
    return Model.from_spec(cell["model"]).shape.dropout if rate is None else rate


def _search(cell: dict[str, Any], launcher: "_Launcher", unsupported: str | None) -> tuple[Result, dict[str, Any]]:
    """How a search ended, and its own keys."""
    tried: list[dict[str, Any]] = []

    def fits(batch: int) -> bool:
        short = {"steps": cell["search"]["steps"], "warmup_steps": 0, "profiled_steps": 0}
        result = launcher.attempt({**cell, **short, "batch": batch})
        tried.append({"batch": batch, "outcome": result.outcome, "reason": result.reason})
        if result.outcome == FAILED:  # which says nothing of what fits
            raise _CrashError(result)
        return result.outcome == "finished"

    result = Result("finished")
    try:
        search = cell["search"]
        largest_batch = find_largest(fits, search["largest"], search["smallest"]) if unsupported is None else None
    except _CrashError as error:
        result, largest_batch = error.result, None
    if largest_batch is None and result.outcome == "finished":
        result = Result("out-of-memory", tried[0]["reason"]) if tried else Result("unsupported", unsupported)
    return result, {"largest_batch": largest_batch, "largest_tried": cell["search"]["largest"], "tried": tried}


class _CrashError(Exception):
    """The framework crashed in a trial of a search."""

    def __init__(self, result: Result) -> None:
        super().__init__(result.reason)
        self.result = result


class _Launcher:
    """Starts the processes of one cell.

    Attributes:
        folder: contains what they are given and give while they run, and what they swap to a disk.
        log: takes what they print.
        python: their interpreter.
        nodes: that they are on.
    """

    def __init__(self, folder: Path, log: Path, python: str, nodes: int) -> None:
        self.folder = folder
        self.log = log
        self.python = python
        self.nodes = nodes

    def attempt(self, cell: dict[str, Any]) -> Result:
        """Measure the cell once.

        Raises:
            LaunchError: a process failed, and neither for want of memory nor because its framework crashed.
        """
        try:
            return self._launch(cell)
        except LaunchError as error:
            if error.interruption:
                raise
            if not self._succeeds_with_more_memory(cell):
                if error.crash is None:
                    raise
                return Result(FAILED, error.crash)
        # Not all code tells of an allocation that failed: some crashes, and some blames something else. What fails
        # under the limit, ends well without, and fails again under it, fails for want of memory.
        try:
            return self._launch(cell)
        except LaunchError as error:
            if error.interruption:
                raise
            message = str(error).partition(": the last lines of")[0].splitlines()[0]
            limit = f"a limit of {cell['memory_limit']['bytes'] / 1e9:g} GB"
            return Result("out-of-memory", f"{message}; so twice under {limit}, and with more memory it ends well")

    def _succeeds_with_more_memory(self, cell: dict[str, Any]) -> bool:
        """Whether a cell that failed under a limit of host memory ends well with all that the machine can spare."""
        limit = cell["memory_limit"]
        spare = psutil.virtual_memory().available // cell["processes"]
        if limit is None or limit["kind"] != "host" or spare <= limit["bytes"]:
            return False
        try:
            return self._launch({**cell, "memory_limit": {**limit, "bytes": spare}}).outcome == "finished"
        except LaunchError:
            return False

    def _launch(self, cell: dict[str, Any]) -> Result:
        shutil.rmtree(self.folder, ignore_errors=True)  # of a job that was killed
        (self.folder / "scratch").mkdir(parents=True)
        cell_file, result_file = self.folder / "cell.json", self.folder / "figures.json"
        write_json(cell_file, cell)
        load = OtherLoad()
        try:
            reason = launch(
                worker.__name__,
                [str(cell_file), str(result_file)],
                cell["processes"],
                cell["threads"],
                self.log,
                device=cell["device"],
                python=self.python,
                nodes=self.nodes,
            )
            if reason is not None:
                return Result("out-of-memory", reason)
            # of other nodes nothing is known here
            return Result(
                "finished", None, read_json(result_file) | {"other_load": load.end() if self.nodes == 1 else None}
            )
        finally:
            shutil.rmtree(self.folder)


def find_largest(fits: Callable[[int], bool], limit: int, lower: int = 1) -> int | None:
    """The largest number from `lower` to `limit` that `fits`, if whatever fits does so for all that is smaller.

    Doubles from `lower` until something doesn't fit, then halves the gap: at most 2 log2(most) + 1 trials.
    None if not even `lower` does.
    """
    low, high, trial = lower - 1, limit + 1, lower
    while high - low > 1:
        if fits(trial):
            low = trial
        else:
            high = trial
        trial = min(2 * low, limit) if high > limit else (low + high) // 2
    return low if low >= lower else None
