"""Speed and memory of one cell: a model under a parallel setting, on random tokens.

`measure` starts the processes, each of which is `python -m trainyard.measure.throughput CELL.json FIGURES.json`.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from trainyard.config.catalogue import Model
from trainyard.config.shapes import flops_per_token
from trainyard.files import read_json, write_json
from trainyard.models.build import build
from trainyard.models.objective import Objective
from trainyard.parallel import group
from trainyard.parallel.engine import Batch, Engine, EngineSettings, load_engine
from trainyard.parallel.launch import launch
from trainyard.parallel.peaks import MFU_FORMULA, device_name, peak
from trainyard.parallel.usage import host_memory, peak_device_memory, peak_host_memory
from trainyard.timing import spread

COORDINATES = ("study", "cell", "processes", "precision", "batch", "sequence_length", "steps", "warmup_steps")
FIGURES = (
    "step_seconds",
    "tokens_per_second",
    "samples_per_second",
    "peak_memory",
    "peak_memory_increase",
    "memory_kind",
    "mfu",
    "mfu_formula",
    "peak_flops",
    "peak_source",
    "device_name",
)


def measure(cell: dict[str, Any], output: Path, log: Path, unsupported: str | None = None) -> None:
    """Measure a cell and write its file; memory that runs out is an outcome, with null figures.

    Args:
        cell: study, cell, model and parallel (catalogue entries with their names),
            processes, threads (a process), device, precision, batch (sequences a
            process), sequence_length, steps, warmup_steps, activation_checkpointing.
        output: the file to write.
        log: takes what the processes print.
        unsupported: why this machine can't do it, if so; then nothing is started.

    Raises:
        LaunchError: a process failed in any other way.
    """
    reason, figures, outcome = unsupported, dict.fromkeys(FIGURES), "unsupported"
    if unsupported is None:
        with tempfile.TemporaryDirectory() as folder:
            written, found = Path(folder) / "cell.json", Path(folder) / "figures.json"
            write_json(written, cell)
            arguments = [str(written), str(found)]
            reason = launch("trainyard.measure.throughput", arguments, cell["processes"], cell["threads"], log)
            outcome = "finished" if reason is None else "out-of-memory"
            if reason is None:
                figures = read_json(found)
    coordinates = {name: cell[name] for name in COORDINATES}
    names = {"model": cell["model"]["name"], "parallel": cell["parallel"]["name"]}
    write_json(output, {**coordinates, **names, "outcome": outcome, "reason": reason, **figures, "timing": "alone"})


def figures(cell: dict[str, Any]) -> dict[str, Any]:
    """Measure in this process, as one rank of the cell's; every rank calls it."""
    torch.set_num_threads(cell["threads"])
    kind = load_engine(cell["parallel"]["engine"])
    kind.start(cell["device"])
    before = host_memory()
    model = Model.of_job(cell["model"])
    engine = kind(_objective(model, cell), _settings(cell))
    batch = random_batch(model, cell["batch"], cell["sequence_length"], seed=group.rank())
    for _ in range(cell["warmup_steps"]):
        _timed_step(engine, batch)
    seconds = [_timed_step(engine, batch) for _ in range(cell["steps"])]
    device = peak_device_memory(engine.device)
    (memory,) = group.max_over_ranks([peak_host_memory() if device is None else device])
    (increase,) = group.max_over_ranks([peak_host_memory() - before if device is None else device])
    engine.close()
    if group.rank() != 0:
        return {}
    return {
        **speed(seconds, cell),
        "peak_memory": int(memory),
        "peak_memory_increase": int(increase),
        "memory_kind": "host" if device is None else "device",
        **utilisation(seconds, cell, model, engine.device),
        "device_name": device_name(engine.device),
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


def speed(seconds: list[float], cell: dict[str, Any]) -> dict[str, Any]:
    """Step time and throughput over all processes, from the times of the steps after the warm-up."""
    median = statistics.median(seconds)
    samples = cell["batch"] * cell["processes"]
    return {
        "step_seconds": spread(seconds),
        "tokens_per_second": samples * cell["sequence_length"] / median,
        "samples_per_second": samples / median,
    }


def utilisation(seconds: list[float], cell: dict[str, Any], model: Model, device: torch.device) -> dict[str, Any]:
    """Model FLOPs utilisation, with its formula and the peak it is a part of."""
    top = peak(device, cell["precision"])
    tokens = cell["batch"] * cell["sequence_length"] / statistics.median(seconds)  # of one process
    return {
        "mfu": tokens * flops_per_token(model, cell["sequence_length"]) / top.flops,
        "mfu_formula": MFU_FORMULA,
        "peak_flops": top.flops,
        "peak_source": top.source,
    }


def _timed_step(engine: Engine, batch: Batch) -> float:
    start = time.perf_counter()
    engine.train_step([batch], engine.settings.learning_rate)
    if engine.device.type == "cuda":
        torch.cuda.synchronize(engine.device)
    return time.perf_counter() - start


def _objective(model: Model, cell: dict[str, Any]) -> Objective:
    checkpointing = cell["activation_checkpointing"]
    return Objective(build(model, cell["model"]["name"], seed=0, activation_checkpointing=checkpointing))


def _settings(cell: dict[str, Any]) -> EngineSettings:
    return EngineSettings(
        precision=cell["precision"],
        clip=1.0,
        learning_rate=1e-5,
        weight_decay=0.1,
        micro_batch=cell["batch"],
        options=cell["parallel"]["options"],
        device=cell["device"],
    )


def main() -> None:
    """Measure the cell of the first argument, and write its figures to the second."""
    cell_file, output = sys.argv[1:]
    found = figures(read_json(cell_file))
    if found:
        write_json(output, found)


if __name__ == "__main__":
    main()
