"""A process of a cell that ends as the name of the cell's model says, unless its memory limit is large."""

import os
import signal
import sys
from pathlib import Path

from trainyard.core.files import read_json, write_json


def main() -> None:
    cell, first = read_json(sys.argv[1]), Path(sys.argv[1]).parent.with_suffix(".first")
    deed, limit = cell["model"]["name"], cell["memory_limit"]
    tight = limit is not None and limit["bytes"] < 2**30
    if deed == "bug" or (deed == "needs-memory" and tight) or (deed == "flake" and not first.exists()):
        first.touch()
        os.kill(os.getpid(), signal.SIGSEGV)
    if deed == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    write_json(sys.argv[2], {"tokens_per_second": 1.0, "peak_memory_increase": 1})


if __name__ == "__main__":
    main()
