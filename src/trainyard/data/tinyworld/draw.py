"""Draws that are the same under every version of Python."""

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Draw:
    """A seeded source of choices.

    Only `random.Random.random` is documented to give the same numbers for a seed
    under every version of Python, so every choice here is made of it alone.
    """

    def __init__(self, seed: str):
        self._random = random.Random(seed).random

    def randbelow(self, limit: int) -> int:
        """A whole number from 0 to `limit` - 1."""
        return int(self._random() * limit)

    def choice(self, things: Sequence[T]) -> T:
        """One of `things`."""
        return things[int(self._random() * len(things))]

    def sample(self, things: Sequence[T], count: int) -> list[T]:
        """`count` different places of `things`, in random order."""
        rest = list(things)
        return [rest.pop(int(self._random() * len(rest))) for _ in range(count)]

    def shuffle(self, things: Sequence[T]) -> list[T]:
        """All of `things` in random order."""
        return self.sample(things, len(things))
