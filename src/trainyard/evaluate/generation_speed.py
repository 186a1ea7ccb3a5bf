"""How fast summaries are generated: what each batch took, and what the batches of an evaluation come to.

Batches are timed one by one, from the padded sources to their token ids, and the first of each process is left out:
caches fill in it and kernels are chosen. What a batch took is kept with its block, so that it adds up over kills and
processes. It is in no score, and the result's only part that differs between two runs of the same evaluation.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

WARMUP = "the first batch of each process, which has the longest sources of its block"


@dataclass(frozen=True)
class TimedBatch:
    """What one batch took.

    Attributes:
        rows: sources.
        tokens: that were generated, as `count_generated` has them.
        positions: of the sources, with their padding.
        padding: of these.
        seconds: by the clock.
        is_first: whether its process had generated nothing before.
    """

    rows: int
    tokens: int
    positions: int
    padding: int
    seconds: float
    is_first: bool = False


def count_generated(ids: Sequence[int], ends: Collection[int]) -> int:
    """How many tokens of a summary were generated: after the given first one, up to the one that ends it, with it."""
    return next((index for index, token in enumerate(ids) if index and token in ends), len(ids) - 1)


def combine(blocks: Sequence[tuple[int, Sequence[TimedBatch]]]) -> dict[str, Any] | None:
    """The speed of an evaluation; None where nothing was generated.

    Each second of a process counts as one over the number of processes that shared the evaluation then: rates are
    those while all of them are at work, as of `processes` such machines, and not what is left when some have ended.

    Args:
        blocks: of each block the number of processes that shared the evaluation, and its batches.

    Returns:
        rows and generated tokens a second, and what they are of; the rates are None where every batch was a first one.
    """
    every = [batch for _, batches in blocks for batch in batches]
    if not every:
        return None
    timed = [(processes, batch) for processes, batches in blocks for batch in batches if not batch.is_first]
    seconds = sum(batch.seconds / processes for processes, batch in timed)
    rows, tokens = (sum(getattr(batch, name) for _, batch in timed) for name in ("rows", "tokens"))
    positions, padding = (sum(getattr(batch, name) for batch in every) for name in ("positions", "padding"))
    return {
        "rows_per_second": rows / seconds if seconds else None,
        "tokens_per_second": tokens / seconds if seconds else None,
        "timed_rows": rows,
        "timed_tokens": tokens,
        "timed_seconds": seconds,
        "batches": len(timed),
        "left_out": f"{len(every) - len(timed)} of {len(every)} batches: {WARMUP}",
        "source_positions": positions,
        "source_padding": padding,
        "timing": "shared",  # other jobs run beside it: its speed is no measurement
    }
