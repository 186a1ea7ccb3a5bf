"""A bar on the terminal, fed from the working folder; nothing where there is no terminal."""

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

from trainyard.core.files import read_json
from trainyard.train.work_folder import WorkFolder

SECONDS = 0.5


def _last_row(folder: WorkFolder) -> dict | None:
    """The last whole row of metrics.jsonl, read from its end."""
    if not folder.metrics.exists():
        return None
    with folder.metrics.open("rb") as file:
        file.seek(max(0, file.seek(0, 2) - 4096))
        lines = [line for line in file.read().splitlines(keepends=True) if line.endswith(b"\n")]
    try:
        return json.loads(lines[-1]) if lines else None
    except ValueError:
        return None


@contextmanager
def progress(folder: WorkFolder, name: str) -> Iterator[None]:
    """Show a bar of steps while the body runs, if stderr is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    done = threading.Event()

    def watch() -> None:
        with tqdm(desc=name, unit="step", dynamic_ncols=True) as bar:
            ended = False
            while not ended:
                ended = done.wait(SECONDS)
                if bar.total is None and folder.started.exists():
                    bar.total = read_json(folder.started)["steps"]
                if row := _last_row(folder):
                    bar.set_postfix(loss=f"{row['loss']:.3f}", refresh=False)
                    bar.update(row["step"] - bar.n)

    watcher = threading.Thread(target=watch, name="progress", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
