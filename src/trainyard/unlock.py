"""Take away the lock that a killed Snakemake left, if nothing lives that could hold it.

`python -m trainyard.unlock` in the working directory, as `make demo` does before it starts.
"""

import os
import subprocess
import sys
from pathlib import Path

import psutil

from trainyard.train.work import held


def other_snakemake(folder: Path) -> int | None:
    """The id of a Snakemake process that works in `folder`, or None."""
    for process in psutil.process_iter(["pid", "cwd", "cmdline"]):
        named = any(Path(word).name.startswith("snakemake") for word in (process.info["cmdline"] or [])[:3])
        if named and process.info["cwd"] == str(folder) and process.info["pid"] != os.getpid():
            return process.info["pid"]
    return None


def unlock(folder: Path) -> int:
    """Unlock `folder`; 0 if it is free now, 1 with a sentence if somebody works in it."""
    locks = folder / ".snakemake" / "locks"
    if not locks.is_dir() or not any(locks.iterdir()):
        return 0
    if (process := other_snakemake(folder)) is not None:
        print(f"Snakemake works in this folder already (process {process}); wait for it or end it.", file=sys.stderr)
        return 1
    if names := held(folder / "work"):
        print(f"A trainer still works on {', '.join(map(str, names))}; wait for it or end it.", file=sys.stderr)
        return 1
    print("The last run was killed: taking its lock away.", file=sys.stderr)
    command = [sys.executable, "-m", "snakemake", "--unlock"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stdout + done.stderr, file=sys.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(unlock(Path.cwd()))
