"""Attention within a window beside dense attention, forward and backward: `make bench-attention`.

Both take the same queries, keys and values in turn, in one process and one thread, so that whatever else the machine
does slows both alike. A decoder is causal; an encoder's rows are padded; T5's has a bias that is trained
besides: its squares take gigabytes at a length of 8,192.
Memory is the peak of the process over what it had before, with every freed tensor given back.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from trainyard.models.window import attend_in_window
from trainyard.models.window_shape import find_reach

LENGTHS = (512, 1024, 2048, 4096, 8192)
KINDS = ("decoder", "encoder", "t5-encoder")
HEADS, WIDTH = 4, 64
_GIVES_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}


def peak_memory() -> int:
    """Bytes since the last `reset_peak`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def reset_peak() -> int:
    """Let the peak begin anew; the bytes at that moment."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_memory()


def make_step(kind: str, length: int, window: int | None) -> Callable[[], None]:
    """A forward and a backward pass, dense without a window."""
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(1, HEADS, length, WIDTH, generator=generator).requires_grad_() for _ in range(3))
    real = torch.arange(length)[None, :] < length - 7
    causal, biased = kind == "decoder", kind == "t5-encoder"

    def dense() -> Tensor:
        if causal:
            return F.scaled_dot_product_attention(query, key, value, is_causal=True)
        mask = real[:, None, None, :].expand(-1, 1, length, -1)
        if biased:
            bias = torch.zeros(1, HEADS, length, length, requires_grad=True)
            mask = torch.where(mask, bias, -torch.inf)
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)

    def windowed() -> Tensor:
        assert window is not None
        bias = torch.zeros(1, HEADS, 1 + sum(find_reach(window, causal)), requires_grad=True) if biased else None
        seen = None if causal else real
        return attend_in_window(query, key, value, window, causal=causal, real=seen, bias=bias)

    def step() -> None:
        (dense() if window is None else windowed()).sum().backward()
        query.grad = key.grad = value.grad = None

    return step


def measure(kind: str, length: int, window: int, repetitions: int) -> tuple[list[float], list[float]]:
    """Seconds (the median) and MiB of dense attention and of that within the window, in turn."""
    steps = [make_step(kind, length, each) for each in (None, window)]
    seconds: list[list[float]] = [[], []]
    memory = [0.0, 0.0]
    for number in range(repetitions + 1):
        for which, step in enumerate(steps):
            before, start = reset_peak(), time.perf_counter()
            step()
            taken = time.perf_counter() - start
            if number:  # the first is a warm-up
                seconds[which].append(taken)
                memory[which] = max(memory[which], (peak_memory() - before) / 2**20)
    return [statistics.median(each) for each in seconds], memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--window", type=int, default=256)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--lengths", type=int, nargs="+", default=list(LENGTHS))
    parser.add_argument("--repetitions", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"window {arguments.window}, {HEADS} heads of {WIDTH}, fp32, one thread, torch {torch.__version__}\n")
    print("| attention | length | dense: ms | window: ms | ratio | dense: MiB | window: MiB |")
    print("|---|---|---|---|---|---|---|")
    for kind in arguments.kinds:
        for length in arguments.lengths:
            (dense, windowed), (most, least) = measure(kind, length, arguments.window, arguments.repetitions)
            print(
                f"| {kind} | {length:,} | {dense * 1e3:,.0f} | {windowed * 1e3:,.0f} | {dense / windowed:.1f} | "
                f"{most:,.0f} | {least:,.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    if any(os.environ.get(name) != value for name, value in _GIVES_BACK.items()):
        # the allocator reads its settings when a process starts
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | _GIVES_BACK)
    main()
