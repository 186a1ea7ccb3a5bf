"""One process of a measured cell: `python -m trainyard.measure.worker CELL.json FIGURES.json`."""

import gc
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from trainyard.config.catalogue import Model, ParallelSetting
from trainyard.config.train import Train
from trainyard.core.files import read_json, write_json
from trainyard.core.percentiles import percentiles
from trainyard.estimate.families import load_family
from trainyard.estimate.lora import target_names
from trainyard.estimate.parameters import (
    MFU_FORMULA,
    PAIR_FLOPS_FORMULA,
    flops_per_pair,
    flops_per_token,
    megatron_flops,
)
from trainyard.hardware.device import device_name
from trainyard.hardware.memory_usage import DeviceMemory, host_memory, peak_host_memory
from trainyard.hardware.tf32 import set_tf32
from trainyard.measure.memory_limit import lift_limit, limit_memory
from trainyard.measure.profile import profile_steps
from trainyard.models.build import build
from trainyard.models.freeze import freeze
from trainyard.models.lora import adapt
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


def measure_cell(cell: dict[str, Any], scratch: Path) -> dict[str, Any]:
    """Measure in this process, as one rank of the cell's; every rank calls it, and rank 0 gets the measurements."""
    torch.set_num_threads(cell["threads"])
    kind = load_engine(cell["parallel"]["engine"])
    kind.start(cell["device"])
    set_tf32(cell["train"]["tf32"])
    model, device = Model.from_spec(cell["model"]), process_group.device(cell["device"])
    _load_libraries(model, cell)
    before = host_memory()
    limit_memory(cell["memory_limit"], device)
    setting, train = ParallelSetting.from_spec(cell["parallel"]), Train.model_validate(cell["train"])
    engine = kind(_objective(model, cell, train), _settings(cell, setting, train, scratch))
    batch = make_random_batch(model, train, cell["batch"], seed=engine.data_rank)
    usage = DeviceMemory(device)
    usage.since_last()
    steps = [_time_step(engine, batch, usage) for _ in range(cell["warmup_steps"] + cell["steps"])]
    lift_limit(cell["memory_limit"], device)
    ranks = _gather(peak_host_memory(), peak_host_memory() - before, usage.peak())
    parts = profile_steps(lambda: _step(engine, batch), engine, cell["profiled_steps"])
    data_ranks = engine.data_ranks
    engine.close()
    if process_group.rank() != 0:
        return {}
    seconds = [step.seconds for step in steps[cell["warmup_steps"] :]]
    return {
        **compute_speed(seconds, cell, data_ranks),
        **_memory(ranks, steps, device),
        **compute_flops(seconds, cell, data_ranks),
        **parts,
        "device_name": device_name(device),
    }


def make_random_batch(model: Model, train: Train, rows: int, seed: int) -> Batch:
    """A batch as long as a training's may be, in which every token is predicted.

    It is (rows, sequence_length), and for an encoder-decoder (rows, source_length) and (rows, target_length).
    """
    generator = torch.Generator().manual_seed(seed)

    def tokens(length: int) -> torch.Tensor:
        return torch.randint(0, model.shape.vocabulary, (rows, length), generator=generator)

    if not load_family(model.family).is_encoder_decoder:
        return {"input_ids": tokens(train.sequence_length), "labels": tokens(train.sequence_length)}
    return {
        "input_ids": tokens(train.source_length),
        "attention_mask": torch.ones(rows, train.source_length, dtype=torch.int64),
        "decoder_input_ids": tokens(train.target_length),
        "labels": tokens(train.target_length),
    }


def _step(engine: Engine, batch: Batch) -> Step:
    """One step, done when the device has done it."""
    step = engine.train_step([batch], engine.settings.train.learning_rate)
    if engine.device.type == "cuda":
        torch.cuda.synchronize(engine.device)
    return step


def _time_step(engine: Engine, batch: Batch, usage: DeviceMemory) -> _Timed:
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
    alone = ParallelSetting.from_spec({"name": "single", "engine": "single"})
    # eager: a compiler would keep what it makes for the small model
    lengths = {"sequence_length": 8, "source_length": 8, "target_length": 8}
    train = Train.model_validate(cell["train"] | lengths | {"compile": False, "freeze": []})
    engine = single.Engine(_objective(little, cell, train), _settings({**cell, "batch": 1}, alone, train, None))
    engine.train_step([make_random_batch(little, train, 1, seed=0)], 0.0)
    del engine
    gc.collect()


def _objective(model: Model, cell: dict[str, Any], train: Train) -> Objective:
    made = build(
        model,
        cell["model"]["name"],
        dropout=train.dropout,
        seed=0,
        activation_checkpointing=train.activation_checkpointing,
        window=train.window,
    )
    freeze(made, train.freeze)
    if train.lora is not None:
        adapt(made, train.lora, target_names(model, train.lora), seed=0)
    return Objective(made, train.label_smoothing)


def _settings(cell: dict[str, Any], setting: ParallelSetting, train: Train, scratch: Path | None) -> EngineSettings:
    return EngineSettings(
        precision=cell["precision"],
        train=train,
        parallel=setting,
        micro_batch=cell["batch"],
        accumulation=1,
        family=cell["model"]["family"],
        device=cell["device"],
        scratch=scratch,
    )


def _gather(*values: float) -> list[list[int]]:
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


FLOPS_FORMULA = "tokens/s x (6 N + 12 L h Q T) / processes"
PAIRS_FORMULA = f"pairs/s x ({PAIR_FLOPS_FORMULA}) / processes"
MEGATRON_FORMULA = "24 (3 + c) B S L h^2 (1 + S / 6h + V / 16 L h) / (step x processes)"


def compute_speed(seconds: list[float], cell: dict[str, Any], data_ranks: int) -> dict[str, Any]:
    """Step time and throughput over all processes, from the times of the steps after the warm-up.

    Processes that share a copy of the model share its batch, so that samples are counted by data rank. Tokens are
    those that are predicted, as in a training: of pairs the target's.
    """
    median = statistics.median(seconds)
    samples = cell["batch"] * data_ranks
    pairs = load_family(cell["model"]["family"]).is_encoder_decoder
    predicted = "target_length" if pairs else "sequence_length"
    return {
        "step_seconds": percentiles(seconds),
        "tokens_per_second": samples * cell["train"][predicted] / median,
        "samples_per_second": samples / median,
    }


def compute_flops(seconds: list[float], cell: dict[str, Any], data_ranks: int) -> dict[str, Any]:
    """TFLOP/s per process by two counts, with their formulas and that of the utilisation (MFU).

    Megatron's count holds for decoders with a feed-forward layer of four times the width; elsewhere it is None. Both
    are where parts are frozen or attention has a window, whose gradients and products they would count, and in TF32,
    whose peak is not known.
    """
    model, train = Model.from_spec(cell["model"]), cell["train"]
    length, family = train["sequence_length"], load_family(model.family)
    pairs = family.is_encoder_decoder
    samples_per_second = cell["batch"] * data_ranks / cell["processes"] / statistics.median(seconds)  # of one process
    if pairs:
        flops = samples_per_second * flops_per_pair(model, train["source_length"], train["target_length"])
    else:
        flops = samples_per_second * length * flops_per_token(model, length)
    holds = family.has_megatrons_flops and model.shape.feed_forward in (None, 4 * model.shape.width)
    megatron = samples_per_second * megatron_flops(model, 1, length, train["activation_checkpointing"])
    counts = not (train["freeze"] or train.get("lora") or train.get("attention") or train["tf32"])
    return {
        "tflops": flops / 1e12 if counts else None,
        "tflops_formula": PAIRS_FORMULA if pairs else FLOPS_FORMULA,
        "tflops_megatron": megatron / 1e12 if holds and counts else None,
        "tflops_megatron_formula": MEGATRON_FORMULA,
        "mfu_formula": f"({PAIRS_FORMULA}) / peak" if pairs else MFU_FORMULA,
    }


def main() -> None:
    """Measure the cell of the first argument with scratch space beside it, and write its measurements to the second."""
    cell_file, output = sys.argv[1:]
    result = measure_cell(read_json(cell_file), Path(cell_file).parent / "scratch")
    if result:
        write_json(output, result)


if __name__ == "__main__":
    main()
