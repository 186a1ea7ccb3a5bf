"""The largest batch that fits, by trial."""

from collections.abc import Callable


def largest(fits: Callable[[int], bool], most: int, least: int = 1) -> int | None:
    """The largest number from `least` to `most` that `fits`, if whatever fits does so for all that is smaller.

    Doubles from `least` until something doesn't fit, then halves the gap: at most 2 log2(most) + 1 trials.
    None if not even `least` does.
    """
    low, high, trial = least - 1, most + 1, least
    while high - low > 1:
        if fits(trial):
            low = trial
        else:
            high = trial
        trial = min(2 * low, most) if high > most else (low + high) // 2
    return low if low >= least else None
