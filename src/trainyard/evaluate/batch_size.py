"""How much an evaluation computes at once where its settings don't say: by the device and its memory.

Figures of one model agree whatever the batch, but for rounding: kernels add in another order at other shapes. In fp32
that is 1e-5 of a log-likelihood at most, on one device; of narrower types no bound is stated
(docs/reference/evaluation.md).
"""

import torch

ON_CPU_TOKENS, ON_CPU_SOURCES = 2048, 16
_MOST_TOKENS, _MOST_SOURCES = 2**15, 64
# In fp32. A token: logits of 128,256 words (LLaMA 3's) twice, and what a block of width 8,192 makes. A source: keys
# and values of T5-3B's decoder for 512 tokens under four beams. Half of the memory is left to the weights.
_TOKEN_BYTES = 2**20
_SOURCE_BYTES = 2**30


def default_batch_tokens(device: str) -> int:
    """Tokens of a batch, with its padding, on `cpu`, `cuda` or `cuda:N`."""
    return choose_batch_tokens(_memory(device))


def default_sources(device: str) -> int:
    """Sources that are generated from at once."""
    return choose_sources(_memory(device))


def choose_batch_tokens(memory: int | None) -> int:
    """Tokens of a batch on a GPU of so many bytes; None stands for a CPU."""
    return ON_CPU_TOKENS if memory is None else _choose(memory, _TOKEN_BYTES, ON_CPU_TOKENS, _MOST_TOKENS)


def choose_sources(memory: int | None) -> int:
    """Sources at once on a GPU of so many bytes; None stands for a CPU."""
    return ON_CPU_SOURCES if memory is None else _choose(memory, _SOURCE_BYTES, ON_CPU_SOURCES, _MOST_SOURCES)


def _choose(memory: int, each: int, fewest: int, most: int) -> int:
    """The power of two that half of the memory holds, so that GPUs of nearly equal memory take the same."""
    return min(most, max(fewest, 2 ** ((memory // 2 // each).bit_length() - 1)))


def _memory(device: str) -> int | None:
    """Of a GPU, in bytes; None of a CPU, and of a GPU that isn't there, which loading the model tells."""
    place = torch.device(device)
    if place.type != "cuda" or (place.index or 0) >= torch.cuda.device_count():
        return None
    return torch.cuda.get_device_properties(place).total_memory
