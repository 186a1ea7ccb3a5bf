"""One process of a measured cell: `python -m trainyard.measure.worker CELL.json FIGURES.json`."""

import gc
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from trainyard.config.catalogue import Model
from trainyard.core.files import read_json, write_json
from trainyard.core.statistics import percentiles
from trainyard.estimate.parameters import flops_per_token, megatron_flops
from trainyard.hardware.memory_usage import DeviceMemory, host_memory, peak_host_memory
from trainyard.hardware.peak_flops import MFU_FORMULA, Peak, device_name, peak
from trainyard.measure.memory_limit import lift_limit, limit_memory
from trainyard.measure.profile import breakdown
from trainyard.models.build import build
from trainyard.models.loss import Objective
from trainyard.parallel import process_group
from trainyard.parallel.engine import Batch, Engine, EngineSettings, Step, load_engine
from trainyard.parallel.pytorch import single


@dataclass(frozen=True)
class _Timed:
    """One step: its seconds, and the memory of this process at its end (host) and during it (device)."""

    seconds: float
    host: int
    device: int | None
    phase: str | None


def figures(cell: dict[str, Any], scratch: Path) -> dict[str, Any]:
    """Measure in this process, as one rank of the cell's; every rank calls it, and rank 0 gets the measurements."""
    torch.set_num_threads(cell["threads"])
    kind = load_engine(cell["parallel"]["engine"])
    kind.start(cell["device"])
    model, device = Model.of_job(cell["model"]), process_group.device(cell["device"])
    _load_libraries(model, cell)
    before = host_memory()
    limit_memory(cell["memory_limit"], device)
    engine = kind(_objective(model, cell), _settings(cell, cell["parallel"]["engine"], scratch))
    batch = random_batch(model, cell["batch"], cell["sequence_length"], seed=engine.data_rank)
    usage = DeviceMemory(device)
    usage.since_last()
    steps = [_timed_step(engine, batch, usage) for _ in range(cell["warmup_steps"] + cell["steps"])]
    lift_limit(cell["memory_limit"], device)
    ranks = _of_all_ranks(peak_host_memory(), peak_host_memory() - before, usage.peak())
    parts = breakdown(lambda: _step(engine, batch), engine, cell["profiled_steps"])
    top = peak(device, cell["precision"])
    data_ranks = engine.data_ranks
    engine.close()
    if process_group.rank() != 0:
        return {}
    seconds = [step.seconds for step in steps[cell["warmup_steps"] :]]
    return {
        **speed(seconds, cell, data_ranks),
        **_memory(ranks, steps, device),
        **utilisation(seconds, cell, data_ranks, top),
        **parts,
        "device_name": device_name(device),
    }


def random_batch(model: Model, rows: int, length: int, seed: int) -> Batch:
    """A batch in which every token is predicted: (rows, length), and for an encoder-decoder sources of that length."""
    generator = torch.Generator().manual_seed(seed)

    def tokens() -> torch.Tensor:
        return torch.randint(0, model.shape.vocabulary, (rows, length), generator=generator)

    if not model.sequence_to_sequence:
        return {"input_ids": tokens(), "labels": tokens()}
    mask = torch.ones(rows, length, dtype=torch.int64)
    return {"input_ids": tokens(), "attention_mask": mask, "decoder_input_ids": tokens(), "labels": tokens()}


def _step(engine: Engine, batch: Batch) -> Step:
    """One step, done when the device has done it."""
    step = engine.train_step([batch], engine.settings.learning_rate)
    if engine.device.type == "cuda":
        torch.cuda.synchronize(engine.device)
    return step


def _timed_step(engine: Engine, batch: Batch, usage: DeviceMemory) -> _Timed:
    start = time.perf_counter()
    step = _step(engine, batch)
    return _Timed(time.perf_counter() - start, host_memory(), usage.since_last(), step.phase)


def _load_libraries(model: Model, cell: dict[str, Any]) -> None:
    """Take a step of a model of the same family but of almost no size.

    What libraries load at their first use then belongs to what the process has before,
    and not to what the parallel setting takes.
    """
    small = {"layers": 1, "width": 8, "heads": 2, "feed_forward": 16, "head_width": None, "decoder_layers": None}
    shape = model.shape.model_copy(
        update=small
        | {
            "key_value_heads": model.shape.key_value_heads and 1,
            "embedding_width": model.shape.embedding_width and 4,
        }
    )
    little = model.model_copy(update={"shape": shape})
    engine = single.Engine(_objective(little, cell), _settings({**cell, "batch": 1}, "single", None))
    engine.train_step([random_batch(little, 1, 8, seed=0)], 0.0)
    del engine
    gc.collect()


def _objective(model: Model, cell: dict[str, Any]) -> Objective:
    checkpointing = cell["activation_checkpointing"]
    return Objective(build(model, cell["model"]["name"], seed=0, activation_checkpointing=checkpointing))


def _settings(cell: dict[str, Any], engine: str, scratch: Path | None) -> EngineSettings:
    own = cell["parallel"] if engine != "single" else {"options": {}, "tensor": 1, "pipeline": 1}
    return EngineSettings(
        precision=cell["precision"],
        max_grad_norm=1.0,
        learning_rate=1e-5,
        weight_decay=0.1,
        initial_loss_scale=cell["initial_loss_scale"],
        micro_batch=cell["batch"],
        options=own["options"],
        tensor=own["tensor"],
        pipeline=own["pipeline"],
        family=cell["model"]["family"],
        scratch=scratch,
        device=cell["device"],
    )


def _of_all_ranks(*values: float) -> list[list[int]]:
    """Each rank's `values`, on every rank; all ranks call it."""
    flat = [0.0] * (len(values) * process_group.world_size())
    start = len(values) * process_group.rank()
    flat[start : start + len(values)] = values
    together = [int(value) for value in process_group.sum_over_ranks(flat)]
    return [together[at : at + len(values)] for at in range(0, len(together), len(values))]


def _memory(ranks: list[list[int]], steps: list[_Timed], device: torch.device) -> dict[str, Any]:
    """The largest over the ranks where the cell computes, then rank by rank, then rank 0's step by step."""
    on_device = device.type == "cuda"
    return {
        "peak_memory": max(peak if on_device else host for host, _, peak in ranks),
        "peak_memory_increase": max(peak if on_device else increase for _, increase, peak in ranks),
        "memory_kind": "device" if on_device else "host",
        "ranks": [
            {
                "rank": rank,
                "peak_host_memory": host,
                "host_memory_increase": increase,
                "peak_device_memory": peak if on_device else None,
            }
            for rank, (host, increase, peak) in enumerate(ranks)
        ],
        "memory_by_step": [
            {"step": number, "host": step.host, "device": step.device, "phase": step.phase}
            for number, step in enumerate(steps, 1)
        ],
    }


def main() -> None:
    """Measure the cell of the first argument with scratch space beside it, and write its measurements to the second."""
    cell_file, output = sys.argv[1:]
    found = figures(read_json(cell_file), Path(cell_file).parent / "scratch")
    if found:
        write_json(output, found)


if __name__ == "__main__":
    main()


FLOPS_FORMULA = "tokens/s x (6 N + 12 L h Q T) / processes"
MEGATRON_FORMULA = "24 (3 + c) B S L h^2 (1 + S / 6h + V / 16 L h) / (step x processes)"


def speed(seconds: list[float], cell: dict[str, Any], data_ranks: int) -> dict[str, Any]:
    """Step time and throughput over all processes, from the times of the steps after the warm-up.

    Processes that share a copy of the model share its batch, so that samples are counted by data rank.
    """
    median = statistics.median(seconds)
    samples = cell["batch"] * data_ranks
    return {
        "step_seconds": percentiles(seconds),
        "tokens_per_second": samples * cell["sequence_length"] / median,
        "samples_per_second": samples / median,
    }


def utilisation(seconds: list[float], cell: dict[str, Any], data_ranks: int, top: Peak) -> dict[str, Any]:
    """TFLOP/s per process by two counts, and model FLOPs utilisation with the peak that it is a part of.

    Megatron's count holds for decoders with a feed-forward layer of four times the width; elsewhere it is None.
    """
    model = Model.of_job(cell["model"])
    median, length = statistics.median(seconds), cell["sequence_length"]
    share = cell["batch"] * data_ranks / cell["processes"]  # samples of one process
    flops = share * length * flops_per_token(model, length) / median
    work = megatron_flops(model, 1, length, cell["activation_checkpointing"]) * share / median
    holds = model.family in ("gpt2", "opt") and model.shape.feed_forward in (None, 4 * model.shape.width)
    return {
        "tflops": flops / 1e12,
        "tflops_formula": FLOPS_FORMULA,
        "tflops_megatron": work / 1e12 if holds else None,
        "tflops_megatron_formula": MEGATRON_FORMULA,
        "mfu": flops / top.flops,
        "mfu_formula": MFU_FORMULA,
        "peak_flops": top.flops,
        "peak_source": top.source,
    }
