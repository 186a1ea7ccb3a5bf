"""Imports what every rank imports, and forks one for each line that comes: see forked.py."""

import importlib
import json
import os
import sys
from pathlib import Path

from trainyard.launch import worker

# before it reads which engine it is to load
IMPORTED = "trainyard.train.worker"
FORKED = "jemalloc_bg_thd"  # of pyarrow's allocator, which takes care of forks


def serve() -> None:
    """Fork a rank for each line that comes, one at a time: write its number and, when it has ended, its status."""
    importlib.import_module(IMPORTED)
    names = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    assert len(names) - names.count(FORKED) == 1, f"a fork would lack threads: {names}"
    for line in sys.stdin:
        number = os.fork()
        if number == 0:
            become_rank(**json.loads(line))
        print(number, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]), flush=True)
    os._exit(0)  # to take down all that was imported takes seconds


def become_rank(arguments: list[str], environment: dict[str, str], log: str, folder: str) -> None:
    """Be what `python -m trainyard.launch.worker ARGUMENTS...` is with this environment, log and working folder."""
    os.setsid()
    os.chdir(folder)
    nothing, written = os.open(os.devnull, os.O_RDONLY), os.open(log, os.O_WRONLY | os.O_APPEND)
    for source, target in ((nothing, 0), (written, 1), (written, 2)):
        os.dup2(source, target)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = environment["PYTHONPATH"].split(os.pathsep)
    sys.argv = ["worker", *arguments]
    worker.main()


if __name__ == "__main__":
    serve()
