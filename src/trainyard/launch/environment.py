"""The environment of the processes that a job starts: our code, their interpreter's packages, and no code from data."""

import os
import socket
from collections.abc import Mapping
from pathlib import Path

from trainyard.hardware import tf32
from trainyard.launch.worker import PARENT


def child_environment(
    source: Path | str, threads: int, more: Mapping[str, str] | None = None, here_alone: bool = True
) -> dict[str, str]:
    """The environment of processes that run by `trainyard.launch.worker`: this one's but for TF32, and what follows.

    Args:
        source: where their code is.
        threads: of each process.
        more: variables over this process's own.
        here_alone: whether all are on this machine: they end with this process, and gloo needs no network.
    """
    environment = {name: value for name, value in os.environ.items() if name not in tf32.VARIABLES} | dict(more or {})
    environment |= {
        "PYTHONPATH": str(source),
        "PYTHONNOUSERSITE": "1",
        "PYTHONSAFEPATH": "1",
        "OMP_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "false",
        "TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1",
    }
    if here_alone:
        environment[PARENT] = str(os.getpid())
        loopback = next((name for _, name in socket.if_nameindex() if name.startswith("lo")), None)
        if loopback:
            environment.setdefault("GLOO_SOCKET_IFNAME", loopback)
    return environment
