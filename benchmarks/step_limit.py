"""How long a step of `make bench-training` would take if it were its matrix products alone, at the machine's best rate.

`PYTHONPATH=src .venv/bin/python benchmarks/step_limit.py --threads 2`

The rates are those of torch's products of the head, which are most of a step, and of a large square.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

POSITIONS, WIDTH, VOCABULARY, LAYERS = 2048, 256, 50_257, 4
SLICE = 683  # positions whose logits models/loss.py makes at once
SQUARE = 4096


def rate(product: Callable[[], torch.Tensor], operations: float, times: int = 9) -> float:
    """FLOP/s, of the median time."""
    product()
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        product()
        seconds.append(time.perf_counter() - start)
    return operations / statistics.median(seconds)


def main() -> None:
    """Print the rates and the limit, in each precision."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    torch.set_num_threads(parser.parse_args().threads)
    head = 6.0 * POSITIONS * WIDTH * VOCABULARY
    blocks = 6.0 * POSITIONS * LAYERS * (12 * WIDTH**2 + 2 * 256 * WIDTH)
    print(f"the head's products: {head / 1e9:.0f} GFLOP; those of the blocks: {blocks / 1e9:.0f}")
    for dtype in (torch.float32, torch.bfloat16):
        hidden, slope, weight = (
            torch.randn(shape).to(dtype) for shape in ((SLICE, WIDTH), (SLICE, VOCABULARY), (VOCABULARY, WIDTH))
        )
        square = torch.randn(SQUARE, SQUARE).to(dtype)
        one = 2.0 * SLICE * WIDTH * VOCABULARY
        rates = {
            "logits": rate(lambda a=hidden, b=weight: a @ b.T, one),
            "gradient of what the head reads": rate(lambda a=slope, b=weight: a @ b, one),
            "gradient of the head": rate(lambda a=slope, b=hidden: a.T @ b, one),
            "square": rate(lambda a=square: a @ a, 2.0 * SQUARE**3, times=3),
        }
        listed = ", ".join(f"{name} {value / 1e9:.0f}" for name, value in rates.items())
        limit = (head + blocks) / max(rates.values())
        print(f"{str(dtype).removeprefix('torch.')}: {listed} GFLOP/s; a step at the best of these: {limit:.2f} s")


if __name__ == "__main__":
    main()
