"""A launch over the nodes of a job, and what its ranks do.

`python on_nodes.py DEED FOLDER DEVICE` launches four ranks on two nodes, and prints how that ended.
"""

import json
import os
import sys
import time
from pathlib import Path

from trainyard.launch import launch


def start(deed: str, folder: Path, device: str) -> None:
    """Launch ranks that do `deed`."""
    launch.SOURCE = f"{launch.SOURCE}:{Path(__file__).parent}"  # pyright: ignore[reportAttributeAccessIssue]
    places = {"log": folder / "log", "meter": folder / "energy"}
    end = launch.launch("on_nodes", [deed, str(folder)], 4, 1, **places, device=device, nodes=2)  # pyright: ignore[reportArgumentType]
    (folder / "end").write_text(str(end))


def rank(deed: str, folder: Path) -> None:
    """One of the ranks."""
    number = os.environ["RANK"]
    names = (
        "SLURM_NODEID",
        "LOCAL_RANK",
        "WORLD_SIZE",
        "CUDA_VISIBLE_DEVICES",
        "GLOO_SOCKET_IFNAME",
        "OMP_NUM_THREADS",
    )
    (folder / f"rank-{number}.json").write_text(json.dumps({name: os.environ.get(name) for name in names}))
    if deed == "eat" and number == "3":
        held = [bytearray(10**8) for _ in range(100)]
        print(len(held))
    if deed in ("wait", "eat"):
        time.sleep(120)


if __name__ == "__main__":
    if "RANK" in os.environ:
        rank(sys.argv[1], Path(sys.argv[2]))
    else:
        start(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
