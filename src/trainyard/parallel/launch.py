"""Starts the processes of a training or measurement, and ends them whatever happens."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from trainyard.errors import InputError
from trainyard.parallel.outcome import oom_kill_count
from trainyard.parallel.rank import ERROR_FILE, POLL_SECONDS

SOURCE = Path(__file__).resolve().parents[2]
TAIL_LINES = 25
# Long enough for a trainer to finish its step and save a checkpoint; clusters give 30 s before SIGKILL.
GRACE_SECONDS = 20.0


class LaunchError(RuntimeError):
    """A process failed; the message holds the log's last lines."""


def launch(
    module: str,
    arguments: Sequence[str],
    processes: int,
    threads: int,
    log: Path,
    environment: Mapping[str, str] | None = None,
    nodes: int = 1,
) -> str | None:
    """Run `python -m module arguments` in `processes` processes of `threads` threads, and wait for them.

    Everything they print goes to `log`. They end when this process ends, by
    whatever signal, and when the Snakemake above it does.

    Args:
        module: an importable name under `src`.
        arguments: for every process.
        processes: over all nodes, equally many on each.
        threads: of each process (OMP_NUM_THREADS).
        log: is appended to.
        environment: variables over this process's own.
        nodes: machines; more than one starts a step of SLURM's `srun` inside the present job.

    Returns:
        None when all ended well; the reason when memory ran out.

    Raises:
        InputError: a process raised it; with its message.
        LaunchError: a process failed in any other way.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    errors = log.with_name(f".{log.name}.error-{os.getpid()}")
    errors.unlink(missing_ok=True)
    kills = oom_kill_count()
    try:
        with log.open("ab") as output:
            status = _run(
                command(module, arguments, processes, threads, nodes),
                child_environment(threads, nodes, {**(environment or {}), ERROR_FILE: str(errors.absolute())}),
                output.fileno(),
            )
        word = json.loads(errors.read_text(encoding="utf-8")) if errors.exists() else None
    finally:
        errors.unlink(missing_ok=True)
    if status == 0:
        return None
    if word and word["kind"] == "input":
        raise InputError(word["message"])
    if word and word["kind"] == "out-of-memory":
        return word["message"].splitlines()[0]
    if oom_kill_count() > kills:
        return "the kernel ended a process for lack of memory (SIGKILL; the control group's oom_kill count rose)"
    said = f"{word['message'].strip()}\n" if word else ""
    raise LaunchError(f"{module} ended with status {status}: {said}the last lines of {log}:\n{_tail(log)}")


def command(module: str, arguments: Sequence[str], processes: int, threads: int = 1, nodes: int = 1) -> list[str]:
    """The command line that `launch` runs."""
    python = [sys.executable, "-m", "trainyard.parallel.rank"]
    if processes == 1:
        return [*python, module, *arguments]
    if processes % nodes:
        raise InputError(f"{processes} processes can't be shared equally by {nodes} nodes; change either")
    torchrun = [*python, "torch.distributed.run", f"--nproc-per-node={processes // nodes}", "--monitor-interval=0.5"]
    work = ["-m", "trainyard.parallel.rank", module, *arguments]
    if nodes == 1:
        # As --standalone, but with addresses that need no resolver.
        local = ["--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0", "--local-addr=127.0.0.1"]
        return [*torchrun, *local, f"--rdzv-id={os.getpid()}", *work]
    # The address of the first node is found inside the step: Snakemake's executor strips SLURM_* outside it.
    step = " ".join(
        [
            'head=$(scontrol show hostnames "$SLURM_STEP_NODELIST" | head -n1);',
            'address=$(scontrol show node "$head" | grep -oE "NodeAddr=[^ ]+" | cut -d= -f2);',
            "exec",
            shlex.join([*torchrun, f"--nnodes={nodes}"]),
            '--node-rank="$SLURM_NODEID" --rdzv-id="$SLURM_JOB_ID" --master-addr="$address"',
            "--master-port=$((20000 + SLURM_JOB_ID % 10000))",
            shlex.join(work),
        ]
    )
    tasks = [f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1"]
    cpus = f"--cpus-per-task={threads * processes // nodes}"
    return ["srun", *tasks, cpus, "--kill-on-bad-exit=1", "bash", "-c", step]


def child_environment(threads: int, nodes: int, more: Mapping[str, str]) -> dict[str, str]:
    """The environment of the processes: this one's, with our code and their environment's packages alone."""
    environment = {**os.environ, **more}
    environment |= {
        "PYTHONPATH": str(SOURCE),
        "PYTHONNOUSERSITE": "1",
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "false",
        "TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1",
    }
    loopback = next((name for _, name in socket.if_nameindex() if name.startswith("lo")), None)
    if nodes == 1 and loopback:
        environment.setdefault("GLOO_SOCKET_IFNAME", loopback)
    return environment


def _run(arguments: list[str], environment: Mapping[str, str], output: int) -> int:
    """Run a command in a session of its own, and give its status; nothing of it outlives this call."""
    process = subprocess.Popen(
        arguments,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    tree = psutil.Process(process.pid)
    try:
        with _ended_with_snakemake(tree), _ended_by_signals():
            return process.wait()
    finally:
        _end(tree)
        process.wait()


def _end(tree: psutil.Process) -> None:
    """End a process and everything below it: politely, then by SIGKILL."""
    try:
        family = [tree, *tree.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for process in family:
        _signal(process, signal.SIGTERM)
    _, alive = psutil.wait_procs(family, timeout=GRACE_SECONDS)
    for process in alive:
        _signal(process, signal.SIGKILL)


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end this process as an exception does, so that its children are ended first."""

    def leave(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _ended_with_snakemake(tree: psutil.Process) -> Iterator[None]:
    """End `tree` and this process when the Snakemake that started it, or one between them, is gone."""
    above = _up_to_snakemake()
    done = threading.Event()

    def watch() -> None:
        while not done.wait(POLL_SECONDS):
            if not all(_lives(process) for process in above):
                _end(tree)
                os.kill(os.getpid(), signal.SIGKILL)

    watcher = threading.Thread(target=watch, name="end-with-snakemake", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _up_to_snakemake() -> list[psutil.Process]:
    """This process's ancestors up to the nearest Snakemake; none where it was started by hand."""
    above = []
    for process in psutil.Process().parents():
        above.append(process)
        try:
            words = process.cmdline()
        except psutil.Error:
            continue
        if any(Path(word).name == "snakemake" for word in words[:4]):
            return above
    return []


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-TAIL_LINES:])
