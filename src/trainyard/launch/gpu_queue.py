"""Which GPUs a job gets: two jobs of one user never share one, whatever repository they run in.

Every job that wants GPUs has a file in one folder of the machine, and a shared lock on
it while it lives:

```
/tmp/trainyard-1000/
    00000007-5f1c9a2e     {"process": 4242, "wants": [every GPU it may have], "holds": [those it has]}
```

Whoever looks tries an exclusive lock on each file: where that succeeds nothing of the job
lives, by whatever end, and the file is deleted. A job's processes lock its file too before
they do anything else, so that its GPUs are free when the last of them is gone and not
before. All looking and writing is done with the folder itself locked. A job takes all of
its GPUs at once or none, and none that a job before it in the queue waits for: no two jobs
can wait for each other, and a large one is served in its turn.
"""

import fcntl
import json
import os
import secrets
import stat
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from trainyard.core.errors import InputError
from trainyard.hardware.gpus import VARIABLE, Gpu, find_gpus

# Not TMPDIR, which differs between shells, nor /run/user, which goes at logout; cleaners of /tmp leave locked files.
FOLDER = Path(f"/tmp/trainyard-{os.getuid()}")  # noqa: S108 (of this user alone: see _open_folder)
FILE = "TRAINYARD_SLOTS"
POLL_SECONDS = 0.25
_UNKNOWN = [Gpu("", "all")]


@dataclass(frozen=True)
class _Job:
    """What the file of a job says: its number in the queue, its first process, and places of GPUs."""

    number: int
    process: int
    wants: list[str]
    holds: list[str]


@contextmanager
def acquire_gpus(
    count: int, devices: Sequence[Gpu] | None = None, folder: Path | None = None
) -> Iterator[dict[str, str]]:
    """Hold `count` GPUs that no other job holds; waits for them, and says so once on standard error.

    They stay held after the block for as long as a process lives that has called `keep_lease`.

    Args:
        count: none for a job on the CPU.
        devices: to choose from; those of this process by default.
        folder: where jobs meet; the user's one on this machine by default.

    Yields:
        The variables that its processes get: CUDA_VISIBLE_DEVICES, and what `keep_lease` reads.

    Raises:
        InputError: there aren't so many GPUs, or the folder is another user's.
    """
    if not count:
        yield {}
        return
    devices = _own_gpus() if devices is None else devices
    if devices is _UNKNOWN:
        count = 1
    if len(devices) < count:
        names = ", ".join(device.name for device in devices) or "none"
        raise InputError(
            f"a job needs {count} GPUs, and it may use {len(devices)} ({names}): ask for as many processes as GPUs, "
            f"check {VARIABLE}, or set device: cpu in config/config.yaml"
        )
    path, lock = _queue_up(folder or FOLDER, devices)
    try:
        acquired = _wait(path, count, devices)
        names = {} if devices is _UNKNOWN else {VARIABLE: ",".join(device.name for device in acquired)}
        yield {**names, FILE: str(path)}
    finally:
        os.close(lock)


def keep_lease() -> None:
    """Hold the GPUs that this process was given until it ends, also when the job that took them is gone.

    Raises:
        RuntimeError: they aren't this job's any more; its first process has ended.
    """
    if FILE not in os.environ:
        return
    try:
        file = os.open(os.environ[FILE], os.O_RDONLY)  # for good
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        is_listed = os.fstat(file).st_nlink > 0
    except (FileNotFoundError, BlockingIOError):
        is_listed = False
    if not is_listed:
        raise RuntimeError("the job that this process belongs to has ended: its GPUs are free for others")


def _own_gpus() -> Sequence[Gpu]:
    """The GPUs of this process.

    SLURM's assignment is kept: the same names may be other GPUs in another of its jobs, and one of its jobs may
    hold several of ours. Where no driver tells which GPUs there are, jobs take turns at all of them.
    """
    job, assigned = os.environ.get("SLURM_JOB_ID"), os.environ.get(VARIABLE)
    if job and assigned is not None:
        job_name = f"slurm-{job}-{os.environ.get('SLURMD_NODENAME', '')}"
        return [Gpu(name, f"{job_name}-{name}") for name in assigned.split(",") if name]
    devices = find_gpus()
    return _UNKNOWN if devices is None else devices


def _queue_up(folder: Path, devices: Sequence[Gpu]) -> tuple[Path, int]:
    """Give this job a file behind all others, and the descriptor that holds its lock."""
    with _lock_folder(folder):
        number = max((job.number for job in _live_jobs(folder)), default=0) + 1
        path = folder / f"{number:08d}-{secrets.token_hex(4)}"
        lock = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDONLY, 0o600)
        fcntl.flock(lock, fcntl.LOCK_SH)
        _write(path, _Job(number, os.getpid(), [device.place for device in devices], []))
    return path, lock


def _wait(path: Path, count: int, devices: Sequence[Gpu]) -> list[Gpu]:
    """Take `count` of the devices as soon as it is this job's turn and as many are free."""
    number, reported = int(path.name.split("-")[0]), False
    while True:
        with _lock_folder(path.parent):
            requested = {device.place for device in devices}
            others = [job for job in _live_jobs(path.parent) if job.number != number and requested & {*job.wants}]
            busy = {place for job in others for place in job.holds}
            free = [device for device in devices if device.place not in busy]
            before = [job for job in others if not job.holds and job.number < number]
            if len(free) >= count and not before:
                places = [device.place for device in free[:count]]
                _write(path, _Job(number, os.getpid(), sorted(requested), places))
                return free[:count]
        if not reported:
            print(_reason(count, devices, others), file=sys.stderr, flush=True)
            reported = True
        time.sleep(POLL_SECONDS)


def _reason(count: int, devices: Sequence[Gpu], others: Sequence[_Job]) -> str:
    names = {device.place: device.name or "all" for device in devices}
    holders = [
        f"process {job.process} has {', '.join(names[place] for place in job.holds if place in names)}"
        if job.holds
        else f"process {job.process} is ahead of it in the queue"
        for job in others
    ]
    return f"waiting for {count} of the GPUs {', '.join(names.values())}: {'; '.join(holders)}"


@contextmanager
def _lock_folder(folder: Path) -> Iterator[None]:
    """Hold the folder's own lock, for the moment that looking and writing take."""
    descriptor = _open_folder(folder)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _open_folder(folder: Path) -> int:
    """Open the folder, made if need be, which nobody else may write to.

    Raises:
        InputError: it is somebody else's, or open to others.
    """
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    descriptor = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
    status = os.fstat(descriptor)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022:
        os.close(descriptor)
        raise InputError(
            f"{folder}: jobs coordinate their GPUs there, but other users may write to it; delete it and run again"
        )
    return descriptor


def _live_jobs(folder: Path) -> list[_Job]:
    """The jobs of which a process lives, in the order of the queue; the files of others are deleted."""
    jobs = []
    for path in sorted(folder.iterdir()):
        file = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
        except BlockingIOError:
            jobs.append(_Job(**json.loads(path.read_text(encoding="utf-8"))))
        finally:
            os.close(file)
    return jobs


def _write(path: Path, job: _Job) -> None:
    path.write_text(json.dumps(asdict(job)), encoding="utf-8")
