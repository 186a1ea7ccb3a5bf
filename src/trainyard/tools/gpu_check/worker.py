"""Runs cases as one rank: `python -m trainyard.launch.worker trainyard.tools.gpu_check.worker CASES.json ROWS.jsonl`.

Rank 0 writes a line `{"begins": name}` and a row for each case. The first case that fails ends the process,
since what a failed one leaves on a device could spoil the next.
"""

import gc
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from trainyard.config.catalogue import Model, ParallelSetting
from trainyard.config.train import Train
from trainyard.core.files import read_json
from trainyard.hardware.device_peak import find_peak
from trainyard.hardware.memory_usage import host_memory, peak_host_memory
from trainyard.measure.memory_limit import limit_memory
from trainyard.measure.worker import compute_flops, compute_speed, make_random_batch
from trainyard.models.build import build
from trainyard.models.family import load_module
from trainyard.models.loss import Objective
from trainyard.parallel import process_group
from trainyard.parallel.engine import Batch, Engine, EngineSettings, load_engine
from trainyard.tools.gpu_check.levers import without
from trainyard.tools.gpu_check.operators import find_slowest

_WARMUP_STEPS = 3
_STEPS = 10
_PROFILED_STEPS = 3
_SECONDS = 5.0


def micro_batch(model: Model, specification: dict[str, Any], step: int, number: int) -> Batch:
    """One of a step's micro-batches, (batch, time); each predicts its own number of tokens."""
    rows, time_, words = specification["batch"], specification["sequence_length"], model.shape.vocabulary
    generator = torch.Generator().manual_seed(1000 * step + number)
    tokens = torch.randint(3, words, (rows, time_ + 1), generator=generator)
    labels = tokens[:, 1:].clone()
    labels[:, int(torch.randint(2, time_, (1,), generator=generator)) :] = -100
    return {"input_ids": tokens[:, :-1], "labels": labels}


def curve(specification: dict[str, Any], scratch: Path) -> dict[str, Any]:
    """The losses of a few steps on micro-batches of unequal numbers of predicted tokens."""
    model = Model.from_spec(specification["model"])
    engine = make(
        specification,
        model,
        scratch,
        dropout=0.0,
        accumulation=specification["micro_batches"] // specification["data_ranks"],
    )
    own = engine.settings.accumulation
    losses, skipped = [], 0
    for step in range(specification["steps"]):
        numbers = range(engine.data_rank * own, (engine.data_rank + 1) * own)
        step_result = engine.train_step(
            [micro_batch(model, specification, step, number) for number in numbers], engine.settings.train.learning_rate
        )
        losses.append(step_result.loss)
        skipped += step_result.skipped
    return {"losses": losses, "skipped_steps": skipped}


class Measured:
    """An engine on which batches of growing size are measured."""

    def __init__(self, specification: dict[str, Any], scratch: Path) -> None:
        self.model = Model.from_spec(specification["model"])
        load_module(self.model.family)  # imports much, which is neither to be measured nor limited
        self.peak = find_peak(process_group.device(specification["device"]), specification["precision"])
        self.before = host_memory()
        limit_memory(specification["memory_limit"], process_group.device(specification["device"]))
        self.engine = make(specification, self.model, scratch)
        self.phases: list[dict[str, Any]] = []

    def row(self, specification: dict[str, Any]) -> dict[str, Any]:
        """Speed by the median step, and the largest memory over the ranks."""
        on_gpu, device = self.engine.device.type == "cuda", self.engine.device
        self.phases = []
        if on_gpu:
            torch.cuda.reset_peak_memory_stats(device)
        batch = make_random_batch(self.model, self.engine.settings.train, specification["batch"], self.engine.data_rank)
        warmup = [self._seconds(batch) for _ in range(_WARMUP_STEPS)]
        (slowest,) = process_group.max_over_ranks([warmup[-1]])  # so that all take equally many
        seconds = [self._seconds(batch) for _ in range(max(3, min(_STEPS, int(_SECONDS / slowest))))]
        memory = [torch.cuda.max_memory_allocated(device), torch.cuda.max_memory_reserved(device)] if on_gpu else []
        host, *memory = process_group.max_over_ranks([peak_host_memory() - self.before, *memory])
        ranks = self.engine.data_ranks
        flops = compute_flops(seconds, specification, ranks)
        profiled = specification.get("operators")
        return {
            "steps": len(seconds),
            **compute_speed(seconds, specification, ranks),
            **flops,
            "mfu": flops["tflops"] * 1e12 / self.peak.flops,
            "peak_flops": self.peak.flops,
            "peak_source": self.peak.source,
            **usage(host, memory),
            "phases": list(self.phases),
            **(find_slowest(lambda: self._seconds(batch), _PROFILED_STEPS, profiled) if profiled else {}),
        }

    def _seconds(self, batch: Batch) -> float:
        start = time.perf_counter()
        step = self.engine.train_step([batch], self.engine.settings.train.learning_rate / 100)
        if self.engine.device.type == "cuda":
            torch.cuda.synchronize(self.engine.device)
        seconds = time.perf_counter() - start
        if step.phase is not None:
            memory = torch.cuda.memory_allocated(self.engine.device) if self.engine.device.type == "cuda" else None
            self.phases.append({"phase": step.phase, "seconds": seconds, "device_memory_after": memory})
        return seconds


def usage(host: float, device: Sequence[float]) -> dict[str, Any]:
    """Peak memory per process, in bytes; of its device what tensors took, and what torch held for them."""
    allocated, reserved = (int(value) for value in device) if device else (None, None)
    return {
        "peak_device_memory": allocated,
        "peak_device_memory_reserved": reserved,
        "host_memory_increase": int(host),
    }


def make(
    specification: dict[str, Any], model: Model, scratch: Path, dropout: float | None = None, accumulation: int = 1
) -> Engine:
    """The engine of a case on a fresh model."""
    parallel = ParallelSetting.from_spec(specification["parallel"])
    settings = EngineSettings(
        precision=specification["precision"],
        train=Train.model_validate(specification["train"]),
        parallel=parallel,
        micro_batch=specification["batch"],
        accumulation=accumulation,
        family=model.family,
        device=specification["device"],
        scratch=scratch,
    )
    objective = Objective(build(model, specification["model"]["name"], dropout=dropout, seed=0))
    return load_engine(parallel.engine)(objective, settings)


def _curves(cases: Sequence[dict[str, Any]], scratch: Path, tell: Callable[[dict[str, Any]], None]) -> None:
    for number, case in enumerate(cases):
        tell({"begins": case["name"]})
        folder = scratch / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        start = time.perf_counter()
        row = curve(case["specification"], folder)
        tell({"name": case["name"], "seconds": time.perf_counter() - start, **row})
        gc.collect()  # engines hold themselves in circles
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _measures(cases: Sequence[dict[str, Any]], scratch: Path, tell: Callable[[dict[str, Any]], None]) -> None:
    measured = None
    for case in cases:
        tell({"begins": case["name"]})
        start = time.perf_counter()
        with without(case["specification"].get("without")):
            if measured is None:
                measured = Measured(case["specification"], scratch)
            row = measured.row(case["specification"])
        tell({"name": case["name"], "seconds": time.perf_counter() - start, **row})


def main() -> None:
    """Run the cases of the first argument, and write rows to the second."""
    cases, output = read_json(sys.argv[1]), Path(sys.argv[2])
    first = cases[0]["specification"]
    load_engine(first["parallel"]["engine"]).start(first["device"])

    def tell(row: dict[str, Any]) -> None:
        if process_group.rank() == 0:
            with output.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
                file.flush()
                os.fsync(file.fileno())

    scratch = output.parent / "scratch"
    scratch.mkdir(exist_ok=True)
    (_curves if first["kind"] in ("reference", "parity") else _measures)(cases, scratch, tell)


if __name__ == "__main__":
    main()
