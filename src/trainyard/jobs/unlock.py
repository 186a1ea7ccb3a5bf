"""Take away the lock that a killed Snakemake left, if nothing lives that could hold it.

The Snakefile notes on which machine a Snakemake works: others can't see whether it lives.

`python -m trainyard.jobs.unlock` in the working directory, as `make demo` does before it starts.
"""

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from trainyard.core.files import read_json, write_json
from trainyard.core.snakefile import find_snakefile
from trainyard.launch.process_tree import is_snakemake
from trainyard.train.work_folder import locked_folders

NOTE = Path(".snakemake", "trainyard-running.json")
CLOCK_SECONDS = 60.0
"""By how much the start of one process may change as it is read again: the clock is set while it runs."""


def write_note(folder: Path) -> None:
    """Write down that this process, which has the lock, works in `folder`."""
    # by this machine's clock: the folder may lie on a server whose clock says otherwise
    started = psutil.Process().create_time()
    write_json(folder / NOTE, {"host": platform.node(), "process": os.getpid(), "started": started})


def read_note(folder: Path) -> dict[str, Any]:
    """The machine (`host`), `process` and start (`started`) of the Snakemake that worked in `folder` last.

    If none did: this machine, and no process.
    """
    return read_json(folder / NOTE) if (folder / NOTE).is_file() else {"host": platform.node(), "process": None}


def other_snakemake(folder: Path) -> int | None:
    """The id of a Snakemake process of this machine that works in `folder`, or None.

    It is known by its command line, or by the note, which also tells of one that Python code runs. Where another
    user's process works can't be seen: that one is known by the note alone.
    """
    last_note = read_note(folder)
    for process in psutil.process_iter(["pid", "cwd", "cmdline", "create_time"]):
        number, folder_in_use, started = (process.info[key] for key in ("pid", "cwd", "create_time"))
        # else a later process has the same number; earlier versions noted the number alone
        is_same = abs(started - last_note.get("started", started)) < CLOCK_SECONDS
        is_noted = number == last_note["process"] and is_same
        is_here = is_noted if folder_in_use is None else folder_in_use == str(folder)
        if is_here and (is_noted or is_snakemake(process.info["cmdline"] or [])) and number != os.getpid():
            return number
    return None


def unlock(folder: Path) -> int:
    """Unlock `folder`; 0 if it is free now, 1 with a sentence if somebody works in it."""
    if not any((folder / name).is_dir() for name in (".snakemake", "config")):
        print(f"Snakemake has not run in {folder}: call this in the folder that the study runs in.", file=sys.stderr)
        return 1
    locks = folder / ".snakemake" / "locks"
    if not locks.is_dir() or not any(locks.iterdir()):
        return 0
    last_note = read_note(folder)
    host = last_note["host"]
    if host != platform.node():
        print(
            f"Snakemake last ran here on {host} (process {last_note['process']}), and whether it still runs can't be "
            f"seen "
            f"from here: run `make unlock` on {host}; if that machine is gone, delete {NOTE} first.",
            file=sys.stderr,
        )
        return 1
    if (process := other_snakemake(folder)) is not None:
        print(
            f"Snakemake is already running in this folder (process {process}); wait for it or stop it.", file=sys.stderr
        )
        return 1
    if names := locked_folders(folder / "work"):
        print(f"A trainer is still running in {', '.join(map(str, names))}; wait for it or stop it.", file=sys.stderr)
        return 1
    print("The last run was killed: removing its lock.", file=sys.stderr)
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(find_snakefile(folder)), "--unlock"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stdout + done.stderr, file=sys.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(unlock(Path.cwd()))
