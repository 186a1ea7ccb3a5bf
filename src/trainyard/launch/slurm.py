"""Processes on the nodes of a SLURM job: `srun` starts one task a node, and each runs one torchrun.

The launcher runs on the first node. What tells a node from the others (its number, the names of
all) is in the environment of the tasks alone, so each works out there whom it is to meet. A task
ends when its standard input does, which the launcher holds open: `srun` itself outlives a launcher
that is killed, and ends its tasks by SIGKILL when it is told to end.

`python -m trainyard.launch.worker trainyard.launch.slurm PROCESSES DEVICE SECONDS MODULE ARGUMENTS...`
is a task; PROCESSES are those of all nodes, and SECONDS what they have to save.
"""

import os
import re
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from trainyard.core.errors import InputError
from trainyard.launch.gpu_queue import acquire_gpus
from trainyard.launch.meter import FOLDER, metered, visible_gpus

_FIRST_PORT, _PORTS = 20_000, 12_000  # below those that the kernel gives to others


def torchrun_arguments(processes: int, meeting: Sequence[str], module: str, arguments: Sequence[str]) -> list[str]:
    """The arguments of `trainyard.launch.worker` that start the ranks of one machine.

    Args:
        processes: on this machine.
        meeting: how torchrun finds those of the other machines.
        module: what a rank runs.
        arguments: for it.
    """
    own = [f"--nproc-per-node={processes}", "--monitor-interval=0.5"]
    return ["torch.distributed.run", *own, *meeting, "-m", "trainyard.launch.worker", module, *arguments]


def share(processes: int, nodes: int, node: int) -> int:
    """How many of the processes a node runs: as many as the others, or one more."""
    return processes // nodes + (node < processes % nodes)


def srun_command(
    nodes: int,
    processes: int,
    threads: int,
    device: str,
    seconds: float,
    module: str,
    arguments: Sequence[str],
    python: str,
) -> list[str]:
    """The command line that starts the processes on several nodes.

    Raises:
        InputError: this is no job of SLURM.
    """
    if "SLURM_JOB_ID" not in os.environ:
        raise InputError(
            f"{processes} processes on {nodes} nodes need SLURM: run through profiles/slurm, or set "
            "processes_per_node: null in config/config.yaml for all of them on this machine"
        )
    step = [
        "srun",
        f"--nodes={nodes}",
        f"--ntasks={nodes}",
        "--ntasks-per-node=1",
        f"--cpus-per-task={share(processes, nodes, 0) * threads}",
        "--cpu-bind=quiet",
        "--mpi=none",
        "--kill-on-bad-exit=1",
    ]
    task = ["trainyard.launch.slurm", str(processes), device, f"{seconds:.0f}", module, *arguments]
    return [*step, python, "-m", "trainyard.launch.worker", *task]


def end_with_input(seconds: float) -> None:
    """End this process when its standard input ends: by SIGTERM, and `seconds` later by SIGKILL."""

    def watch() -> None:
        while os.read(0, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(seconds)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="end-with-input", daemon=True).start()


def expand_nodes(listed: str) -> list[str]:
    """The names in a list of SLURM's, such as `n[1-3,7]`."""
    return _run("scontrol", "show", "hostnames", listed).split()


def node_address(name: str) -> str:
    """Where a node can be reached, by SLURM's configuration: an address or a name."""
    match = re.search(r"\bNodeAddr=(\S+)", _run("scontrol", "show", "node", name))
    return match[1] if match else name


def find_interface(address: str) -> str | None:
    """This machine's network interface on the way to `address`, for gloo; None if it can't be told."""
    family, kind, protocol, _, place = socket.getaddrinfo(address, _FIRST_PORT, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.connect(place)  # sends nothing
        own = probe.getsockname()[0]
    interfaces = psutil.net_if_addrs().items()
    return next((name for name, places in interfaces if any(each.address == own for each in places)), None)


def rendezvous_port(job: int, step: int) -> int:
    """Where the nodes of a step meet: the same on all, another for jobs and steps that run at once."""
    return _FIRST_PORT + (16 * job + step) % _PORTS


def main() -> None:
    """Run this node's share of the processes."""
    processes, device, seconds, module, *arguments = sys.argv[1:]
    end_with_input(float(seconds))
    names, node = expand_nodes(os.environ["SLURM_STEP_NODELIST"]), int(os.environ["SLURM_NODEID"])
    # the first looks at another too: its own address may be that of its loopback
    if interface := find_interface(node_address(names[0] if node else names[-1])):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
    meeting = [
        f"--nnodes={len(names)}",
        f"--node-rank={node}",
        f"--master-addr={node_address(names[0])}",
        f"--master-port={rendezvous_port(int(os.environ['SLURM_JOB_ID']), int(os.environ['SLURM_STEP_ID']))}",
        f"--local-addr={node_address(names[node])}",
    ]
    here = share(int(processes), len(names), node)
    folder = os.environ.get(FOLDER)
    gpus = here if device == "cuda" else 0
    with (
        acquire_gpus(gpus) as places,
        metered(Path(folder) if folder else None, here, visible_gpus(places, gpus), node),
    ):
        os.environ.update(places)
        sys.argv = torchrun_arguments(here, meeting, module, arguments)
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _run(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout


def was_killed_for_memory(job: str) -> bool:
    """Whether SLURM has ended a job for want of memory; False where it doesn't tell, or no longer.

    Its controller remembers a job for some minutes (MinJobAge), and the accounting, where there is one, for long.
    """
    states = _ask("scontrol", "show", "job", job, "--oneliner").split()
    states += _ask("sacct", f"--jobs={job}", "--parsable2", "--noheader", "--format=State").split()
    return any(state.removeprefix("JobState=") == "OUT_OF_MEMORY" for state in states)


def _ask(*words: str) -> str:
    try:
        return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False).stdout
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return ""


if __name__ == "__main__":
    main()
