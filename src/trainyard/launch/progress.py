"""How far an evaluation is: a bar on a terminal, a line now and then elsewhere."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

SECONDS = 15.0  # between two lines


class Progress:
    """Counts rows and tells of them; `processes` share what is left of them."""

    def __init__(self, title: str, total: int, processes: int = 1) -> None:
        self._title, self._total, self._processes = title, total, processes
        self._done = self._scored = 0
        self._began = self._told = time.monotonic()
        self._bar = tqdm(total=total, desc=title, unit="row", dynamic_ncols=True, leave=False, disable=None)

    def skip(self, rows: int) -> None:
        """So many rows are done already, or another process's: they take no time."""
        self._done += rows
        self._bar.update(rows)

    def update(self, rows: int) -> None:
        """So many more rows are scored."""
        self._scored += rows
        self._done += rows
        self._bar.update(rows)
        now = time.monotonic()
        if now - self._told < SECONDS or not self._scored:
            return
        self._told = now
        rate = self._scored / (now - self._began)
        left = (self._total - self._done) / self._processes / rate
        line = f"{self._title}: row {self._done:,} of {self._total:,}, {rate:.1f} rows/s, {_duration(left)} left"
        logging.info("%s", line)
        if not sys.stderr.isatty():
            print(line, file=sys.stderr, flush=True)

    def update_by_piece(self, rows: int, pieces: int) -> Callable[[int], None]:
        """Count `rows` as so many pieces of work are done: what to call with the number of those just finished."""
        finished = told = 0
        if not pieces:
            self.update(rows)

        def done(count: int) -> None:
            nonlocal finished, told
            finished += count
            self.update(rows * finished // pieces - told)
            told = rows * finished // pieces

        return done

    def close(self) -> None:
        """Take the bar away."""
        self._bar.close()


@contextmanager
def progress(title: str, total: int, processes: int = 1) -> Iterator[Progress]:
    """Tell of the rows that the body counts, `total` at most, as one of several processes that share them."""
    counter = Progress(title, total, processes)
    try:
        yield counter
    finally:
        counter.close()


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
