"""A job that takes slots and starts one rank, which holds them too: `queue_job.py job|rank FOLDER NAME ...`.

The rank takes a lock of its own on each of its GPUs, as a witness: nobody else may have it.
"""

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from trainyard.hardware.gpus import Gpu
from trainyard.launch.gpu_queue import acquire_gpus, keep_lease


def job(folder: Path, name: str, count: int, seconds: float, places: Sequence[str]) -> None:
    """Take slots, run one rank, and leave a file when both have ended well."""
    devices = [Gpu(place[6], place) for place in places]
    with acquire_gpus(count, devices, folder / "slots") as variables:
        command = [sys.executable, __file__, "rank", str(folder), name, str(seconds)]
        subprocess.run(command, env={**os.environ, **variables}, check=True)
    (folder / f"served-{name}").touch()


def rank(folder: Path, name: str, seconds: float) -> None:
    """Hold the job's slots, be their witness for a while or until it is told to end, and record when that began."""
    keep_lease()
    names = os.environ["CUDA_VISIBLE_DEVICES"].split(",")
    for gpu in names:
        witness = os.open(folder / f"witness-{gpu}", os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(witness, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            (folder / f"shared-{name}-{gpu}").touch()
    now = time.monotonic()
    (folder / f"began-{name}.draft").write_text(json.dumps([now, names]))
    (folder / f"began-{name}.draft").rename(folder / f"began-{name}")
    while time.monotonic() < now + seconds and not (folder / f"end-{name}").exists():
        time.sleep(0.02)


if __name__ == "__main__":
    deed, where, called, *others = sys.argv[1:]
    if deed == "job":
        job(Path(where), called, int(others[0]), float(others[1]), others[2:])
    else:
        rank(Path(where), called, float(others[0]))
