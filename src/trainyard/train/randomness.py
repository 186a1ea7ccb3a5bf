"""The random states of one rank: seeding, saving, restoring."""

import random
from pathlib import Path

import numpy as np
import torch

from trainyard.files import read_json, write_json


def seed_rank(seed: int, rank: int) -> None:
    """Seed every generator of this process; ranks draw differently, so that their dropout masks differ."""
    value = int(np.random.SeedSequence([seed, rank]).generate_state(1)[0])
    random.seed(value)
    np.random.seed(value)
    torch.manual_seed(value)


def save_randomness(path: Path) -> None:
    """Write the states of torch (CPU and CUDA), NumPy and Python as JSON."""
    kind, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    cuda = torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None
    write_json(
        path,
        {
            "torch": torch.get_rng_state().numpy().tobytes().hex(),
            "cuda": None if cuda is None else cuda.numpy().tobytes().hex(),
            "numpy": [kind, [int(number) for number in keys], position, has_gauss, gauss],
            "python": random.getstate(),
        },
    )


def _bytes(text: str) -> torch.Tensor:
    return torch.frombuffer(bytearray.fromhex(text), dtype=torch.uint8)


def load_randomness(path: Path) -> None:
    """Restore what `save_randomness` wrote."""
    state = read_json(path)
    torch.set_rng_state(_bytes(state["torch"]))
    if state["cuda"] is not None:
        torch.cuda.set_rng_state(_bytes(state["cuda"]))
    kind, keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), position, has_gauss, gauss))
    version, numbers, gauss_next = state["python"]
    random.setstate((version, tuple(numbers), gauss_next))
