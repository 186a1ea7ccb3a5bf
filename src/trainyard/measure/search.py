"""The largest batch that fits, by trial."""

from collections.abc import Callable


def largest(fits: Callable[[int], bool], most: int) -> int | None:
    """The largest number up to `most` that `fits`, if whatever fits does so for all that is smaller.

    Doubles from 1 until something doesn't fit, then halves the gap: at most 2 log2(most) + 1 trials.
    None if not even 1 does.
    """
    low, high, trial = 0, most + 1, 1
    while high - low > 1:
        if fits(trial):
            low = trial
        else:
            high = trial
        trial = min(2 * low, most) if high > most else (low + high) // 2
    return low or None
