"""What each lever of a training step brings on a CPU: our loop beside itself without one: `make bench-levers`.

The GPT-2 and the settings of `make bench-training`, uncompiled. In each round every loop takes a step, in an order
drawn anew and in one process, so that whatever else the machine does slows all alike. A ratio is the seconds of a
round's step without the lever over those with all: its median, 10th and 90th percentile over the rounds.
"""

import argparse
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import get_args

import torch
from beside_trainer import make_loop
from torch import Tensor
from training import MODEL, WARMUP, make_data, spread

from trainyard.config.catalogue import Precision
from trainyard.config.train import Train
from trainyard.data.loader import Loader
from trainyard.models import loss
from trainyard.parallel.engine import load_engine
from trainyard.tools.gpu_check.levers import LEVERS, Lever, without


def add_apart(total: Tensor | None, slope: Tensor, inputs: Tensor) -> Tensor:
    """The gradient of a slice as a tensor of its own first."""
    product = loss._sum_over_rows(slope, inputs)
    return product.float() if total is None else total.add_(product)


ON_CPU: dict[str, Lever] = {
    "head in 16 bits": ("trainyard.models.loss", "_dtype", lambda weight: weight.dtype),
    "padded logits": LEVERS["padded logits"],
    "fused GELU": LEVERS["fused GELU"],
    "slices added within the product": ("trainyard.models.loss", "_add_sum_over_rows", add_apart),
    "norm by pieces that stay in the cache": ("trainyard.parallel.engine", "_SQUARED_AT_ONCE", 2**22),
}
ONLY_IN = {"head in 16 bits": 16, "padded logits": 16, "slices added within the product": 32}
"""Levers that move nothing in the other width, by bits."""


def measure(precision: Precision, rounds: int) -> dict[str | None, list[float]]:
    """The seconds of each round's step after the warm-up, without each lever; under None with all of them."""
    bits = 32 if precision == "fp32" else 16
    names = [None, *(name for name in ON_CPU if ONLY_IN.get(name, bits) == bits)]
    steps = rounds + WARMUP
    train = Train.model_validate(
        {"steps": steps, "batch": 8, "sequence_length": 256, "learning_rate": 3e-4, "decay": "constant"}
    )
    seconds: dict[str | None, list[float]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as given:
        folder = Path(given)
        make_data(folder, train, steps)
        load_engine("single").start("cpu")
        loops = {}
        for number, name in enumerate(names):
            with without(name, ON_CPU):
                loops[name] = make_loop(MODEL, train, Loader(folder, train, seed=1), folder / str(number), precision)
        for step in range(1, steps + 1):
            for name in random.sample(names, len(names)):
                with without(name, ON_CPU):
                    start = time.perf_counter()
                    loops[name].step(step)
                    seconds[name].append(time.perf_counter() - start)
        loops[None].engine.close()
    return {name: each[WARMUP:] for name, each in seconds.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=20, help="after the warm-up")
    parser.add_argument("--precision", nargs="+", choices=get_args(Precision), default=["fp32", "bf16"])
    at = parser.parse_args()
    torch.set_num_threads(at.threads)
    print(f"torch {torch.__version__}, {at.threads} threads, {at.rounds} rounds")
    for precision in at.precision:
        found = measure(precision, at.rounds)
        whole = found.pop(None)
        print(f"{precision}: {spread(whole)} seconds a step with all levers")
        for name, seconds in found.items():
            ratios = [longer / usual for longer, usual in zip(seconds, whole, strict=True)]
            first, *_, last = statistics.quantiles(ratios, n=10)
            print(f"  without {name}: {statistics.median(ratios):.2f} times as long ({first:.2f} to {last:.2f})")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
