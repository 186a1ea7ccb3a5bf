"""The working folder of a run: everything that outlives a killed job, and the lock on it.

```
work/{study}/{run}/{key}/
    spec.json            what is trained
    origin.json          of what and by which code: the hashes of its data, the versions of the code that trained it
    started.json         what the trainer found out when it started: steps, parameters, device
    forecast.json        what the loss was expected to be when the training began
    slurm-job            the number of the SLURM job that trains or trained last
    metrics.jsonl        one row per step; cut back to the resumed step
    checkpoints/         step-000050/ and the one before it
    models/              best/, last/, step-N/
    validations/         step-000050.json: the losses by row of the validation after each such step
    swap/                what an engine keeps on the disk while it trains
    energy/              what each attempt has taken of each node: launch/meter.py
    outcome.json         how it ended; the trainer has nothing more to do
    complete             the outputs have been copied out: a new job starts afresh
    lock                 held by the trainer (rank 0) while it lives
```
"""

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from trainyard.core.code_versions import CodeVersion, read_versions
from trainyard.core.errors import InputError
from trainyard.core.files import read_json, sha256_json, sha256_path, write_json
from trainyard.core.python_environment import TRAINING, package_versions

LOCK_SECONDS = 60.0


def input_hashes(data: dict[str, str | None]) -> dict[str, str]:
    """A hash for each folder that a specification's `data` names.

    The hash of token and tokenizer folders is that of their index.json, which
    holds the hashes of the files themselves.

    Raises:
        InputError: a folder or its index is missing.
    """
    hashes = {}
    for name, folder in sorted(data.items()):
        if folder is None:
            continue
        index = Path(folder) / "index.json"
        if not index.is_file() and not (name in ("weights", "tokenizer") and Path(folder).is_dir()):
            raise InputError(f"{index}: no such file; the {name} data isn't complete, delete {folder} and run again")
        hashes[name] = sha256_path(folder)
    return hashes


def folder_key(specification: dict[str, Any], inputs: dict[str, str], code: str, python: str = sys.executable) -> str:
    """The name of the working folder: the same for the same specification, data, code and packages of `python`."""
    settings = {name: value for name, value in specification.items() if name != "data"}
    return sha256_json(
        {"specification": settings, "inputs": inputs, "code": code, "versions": package_versions(TRAINING, python)}
    )[:16]


def step_folder(checkpoints: Path, step: int) -> Path:
    """The folder of one step's checkpoint."""
    return checkpoints / f"step-{step:06d}"


def saved_steps(checkpoints: Path) -> list[int]:
    """The steps of the checkpoints in a folder, newest first."""
    return sorted((int(folder.name.removeprefix("step-")) for folder in checkpoints.glob("step-*")), reverse=True)


class WorkFolder:
    """The paths and the state of one working folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.specification = path / "spec.json"
        self.origin = path / "origin.json"
        self.started = path / "started.json"
        self.forecast = path / "forecast.json"
        self.slurm_job = path / "slurm-job"
        self.metrics = path / "metrics.jsonl"
        self.checkpoints = path / "checkpoints"
        self.models = path / "models"
        self.best = self.models / "best"
        self.validations = path / "validations"
        self.swap = path / "swap"
        self.energy = path / "energy"
        self.complete = path / "complete"
        self.lock_file = path / "lock"
        self._outcome = path / "outcome.json"

    def saved_step(self) -> int:
        """The step of the newest checkpoint, whatever code made it; 0 where there is none."""
        return next(iter(saved_steps(self.checkpoints)), 0)

    def own_step(self) -> int:
        """The step of the newest checkpoint that the last version of its code made; 0 where there is none."""
        step, versions = self.saved_step(), self.versions()
        return step if versions and step >= versions[-1].step else 0

    def inputs(self) -> dict[str, str]:
        """The hash of each folder of the data that it trains on."""
        return read_json(self.origin)["inputs"]

    def versions(self) -> list[CodeVersion]:
        """The versions of the code that train it, in their order; none before it begins."""
        return read_versions(read_json(self.origin)["versions"]) if self.origin.exists() else []

    def write_origin(self, inputs: dict[str, str], versions: Sequence[CodeVersion]) -> None:
        """Write down what it trains on and which versions of the code train it."""
        write_json(self.origin, {"inputs": inputs, "versions": [asdict(version) for version in versions]})

    def outcome(self) -> dict[str, Any] | None:
        """How the training ended (`outcome`, `reason`), or None while it has not."""
        return read_json(self._outcome) if self._outcome.exists() else None

    def end(self, outcome: str, reason: str | None = None, **facts: Any) -> None:
        """Record how the training ended, and what is known only then."""
        write_json(self._outcome, {"outcome": outcome, "reason": reason, **facts})

    def describe_continuation(self) -> str:
        """What happens when the run is started again, for an error message."""
        saved = self.saved_step()
        return f"run again, and it continues after step {saved}" if saved else "run again, and it starts from step 1"

    def clear(self) -> None:
        """Delete everything but the lock."""
        # the mark goes last: a folder half deleted is still complete, and is cleared again
        for entry in sorted(self.path.iterdir(), key=lambda entry: entry == self.complete):
            if entry == self.lock_file:
                continue
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()

    def finish(self) -> None:
        """Mark the folder complete and delete what is large: its outputs have been copied."""
        self.complete.touch()
        for folder in (self.checkpoints, self.models, self.validations, self.swap):
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def lock(self, seconds: float = LOCK_SECONDS) -> Iterator[None]:
        """Hold the folder's lock.

        Waits for a trainer that is still there, such as an orphan that is about to end, and says so.

        Raises:
            InputError: it is still held after `seconds`.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.lock_file)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print(f"{self.path}: another trainer is using this folder; waiting up to {seconds:.0f} s", file=sys.stderr)
            try:
                lock.acquire(timeout=seconds, poll_interval=0.2)
            except Timeout:
                raise InputError(
                    f"{self.path}: another trainer still holds this folder after {seconds:.0f} s; "
                    "wait until it ends, or stop it, and run again"
                ) from None
        try:
            yield
        finally:
            lock.release()


def locked_folders(work: Path) -> list[Path]:
    """The working folders under `work` that a live trainer holds."""
    folders = []
    for file in sorted(work.glob("*/*/*/lock")):
        lock = FileLock(file)
        try:
            with lock.acquire(timeout=0):
                pass
        except Timeout:
            folders.append(file.parent)
    return folders
