"""Our training loop beside transformers' Trainer, step by step in turn, in one process.

`make bench-training`, or `PYTHONPATH=src .venv/bin/python benchmarks/training.py --threads 2 --steps 20`.

Both train the same GPT-2 (4 layers, width 256, sequence 256, batch 8, vocabulary 50,257,
no dropout) on the same tokens with the same optimizer (torch's fused AdamW), clipping at
1.0 and number of threads. One step of ours follows each step of the Trainer's, so that
whatever else the machine does slows both alike. Ours includes drawing the batch and
writing the row of metrics.jsonl; the Trainer neither logs nor saves.
The ratio is the Trainer's median step time over ours: above 1 ours is quicker.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from beside_trainer import Device, InTurn, make_loop, match
from torch.utils.data import Dataset
from transformers import PrinterCallback, Trainer, TrainingArguments
from transformers.utils import logging

from trainyard.config.catalogue import Model, Precision
from trainyard.config.train import Train
from trainyard.core.files import write_json
from trainyard.data.loader import Loader
from trainyard.data.shards import write_shards
from trainyard.estimate.families import load_family
from trainyard.models.build import build
from trainyard.parallel.engine import load_engine

WARMUP = 4
SHAPE = {"layers": 4, "width": 256, "heads": 4, "context": 256, "vocabulary": 50_257, "dropout": 0.0}
MODEL = Model.model_validate({"title": "GPT-2", "family": "gpt2", "tokenizer": "gpt2", "shape": SHAPE})
CASES: list[tuple[Precision, bool]] = [("fp32", False), ("fp32", True), ("bf16", False), ("bf16", True)]


class Rows(Dataset):
    """The Trainer's rows."""

    def __init__(self, windows: list[list[int]]) -> None:
        self._windows = windows

    def __len__(self) -> int:
        return len(self._windows)

    def __getitem__(self, row: int) -> dict[str, list[int]]:
        return {"input_ids": self._windows[row], "labels": self._windows[row]}


def make_data(folder: Path, train: Train, steps: int) -> Rows:
    """Random tokens as shards for ours, and as the Trainer's rows."""
    assert train.batch is not None
    length, rows = train.sequence_length, steps * train.batch
    tokens = np.random.default_rng(0).integers(0, MODEL.shape.vocabulary, rows * length + 1).astype(np.uint16)
    write_json(folder / "index.json", {"kind": "text", "shards": write_shards(folder, [tokens], len(tokens))})
    return Rows(tokens[:-1].reshape(rows, length).tolist())


def require_comparable(family: str, arguments: TrainingArguments) -> None:
    """Refuse what the Trainer trains with another gradient than ours.

    transformers 5.23 multiplies loss and gradient of BART and T5 by the number of accumulation steps and of
    processes: their models take no count of tokens, and it thinks that they do.
    """
    factor = arguments.gradient_accumulation_steps * arguments.world_size
    if load_family(family).is_encoder_decoder and factor > 1:
        raise ValueError(f"the Trainer multiplies the gradient of {family} by {factor}: it is no peer there")


def compare(precision: Precision, compiled: bool, steps: int, device: Device) -> tuple[list[float], list[float]]:
    """The seconds of each step after the warm-up: ours, the Trainer's."""
    torch._dynamo.reset()
    train = Train.model_validate(
        {
            "steps": steps + WARMUP,
            "batch": 8,
            "sequence_length": 256,
            "learning_rate": 3e-4,
            "decay": "constant",
            "compile": compiled,
        }
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = make_data(folder, train, steps + WARMUP)
        load_engine("single").start(device)
        loop = make_loop(MODEL, train, Loader(folder, train, seed=1), folder / "ours", precision, device)
        arguments = TrainingArguments(
            **match(train, folder / "trainer", steps + WARMUP, device),
            per_device_train_batch_size=8,
            bf16=precision == "bf16",
            torch_compile=compiled,
        )
        require_comparable(MODEL.family, arguments)
        turns = InTurn({"ours": loop})
        model = build(MODEL, "benchmark", seed=1)
        trainer = Trainer(model=model, args=arguments, train_dataset=rows, callbacks=[turns])
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        loop.engine.close()
    return turns.ours["ours"][WARMUP:], turns.theirs[WARMUP:]


def spread(seconds: list[float]) -> str:
    first, *_, last = statistics.quantiles(seconds, n=10)
    return f"{statistics.median(seconds):.3f} ({first:.3f} to {last:.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--steps", type=int, default=20, help="of each, after the warm-up")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--cases", nargs="*", default=[], help="such as fp32-eager; all four by default")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    logging.set_verbosity_error()
    print(f"torch {torch.__version__}, {arguments.threads} threads, {arguments.device}, {arguments.steps} steps each")
    print("seconds per step: median (p10 to p90)\n")
    print(f"{'case':<15}{'ours':<26}{'Trainer':<26}{'ratio':<8}tokens/s ours, Trainer")
    for precision, compiled in CASES:
        name = f"{precision}-{'compiled' if compiled else 'eager'}"
        if arguments.cases and name not in arguments.cases:
            continue
        ours, theirs = compare(precision, compiled, arguments.steps, arguments.device)
        medians = statistics.median(ours), statistics.median(theirs)
        speeds = ", ".join(f"{8 * 256 / median:,.0f}" for median in medians)
        print(f"{name:<15}{spread(ours):<26}{spread(theirs):<26}{medians[1] / medians[0]:<8.2f}{speeds}")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
