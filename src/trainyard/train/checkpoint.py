"""Checkpoints: a folder that every rank writes into, and that appears whole or not at all.

```
checkpoints/step-000050/
    engine/              what the engine saves: weights and optimizer; what ranks hold alike, one of them
    random-0.json        the random states of each rank
    best/                the best model so far, if there is one: a later one would replace it among the models
    hashes.json          the SHA-256 of every other file; written last
```
The samples are a function of seed and step, and step, tokens, time and best validation
loss are in metrics.jsonl, which is synced before a checkpoint appears: nothing else is saved.
"""

import json
import random
import shutil
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainyard.core.errors import InputError, one_line
from trainyard.core.files import (
    atomic_folder,
    clear_drafts,
    read_json,
    report_write_errors,
    sha256_file,
    sync,
)
from trainyard.hardware.memory_usage import free_host_memory
from trainyard.parallel import process_group
from trainyard.parallel.engine import Engine
from trainyard.train.work_folder import saved_steps, step_folder

KEPT = 2


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file() and file.name != "hashes.json")


class CheckpointWriter:
    """Writes checkpoints while training goes on, one at a time; every rank has one.

    A rank copies its state, and a thread of its own writes the copy. When all ranks have written, rank 0's thread adds
    the hashes and lets the checkpoint appear. Methods that are collectives are called by all ranks alike.
    """

    def __init__(self, folder: Path, engine: Engine, best: Path | None = None) -> None:
        """Write into `folder`, which keeps two checkpoints, the state of `engine` and the model in `best`, if any."""
        self._folder = folder
        self._engine = engine
        self._best = best
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._step: int | None = None  # of the checkpoint that ranks write
        self._writing: Future[None] | None = None
        self._copying_best: Future[None] | None = None
        self._publishing: Future[None] | None = None
        self._has_said = False

    def save(self, step: int, wait: bool = False) -> None:
        """Save the state after `step` as it is now; a collective, which waits for the checkpoint before.

        Args:
            step: the last that was taken.
            wait: until it is on the disk, without a copy.

        Raises:
            InputError: the disk is full, or may not be written to.
        """
        self._finish_writing()
        self._step = step
        if process_group.rank() == 0 and self._best:
            self._copying_best = self._thread.submit(self._copy_best, step)
        random_states = randomness()
        files = self._engine.files()
        if files is not None and not wait and self._has_room(files):
            self._writing = self._thread.submit(self._write, step, copy_to_host(files), random_states)
        else:
            self._write(step, files, random_states)
        if wait:
            self.close()

    def advance(self) -> None:
        """Let what all ranks have written appear; a collective, which doesn't wait.

        Raises:
            InputError: as `save`, of what was begun.
        """
        if self._publishing and self._publishing.done():
            self._publishing.result()
        written = all(part is None or part.done() for part in (self._copying_best, self._writing))
        if written:
            self.check()
        if self._step is not None and process_group.sum_over_ranks([float(not written)])[0] == 0:
            self._publish()

    def release_best(self) -> None:
        """Wait until the best model may be replaced by a better one."""
        if self._copying_best:
            self._copying_best.result()

    def close(self) -> None:
        """Wait until what was begun is on the disk; a collective.

        Raises:
            InputError: as `save`.
        """
        self._finish_writing()
        if self._publishing:
            self._publishing.result()
        process_group.barrier()

    def check(self) -> None:
        """Wait for what this rank writes.

        Raises:
            InputError: as `save`.
        """
        self.release_best()
        if self._writing:
            self._writing.result()
        self._writing = self._copying_best = None

    def _finish_writing(self) -> None:
        if self._step is None:
            return
        self.check()
        process_group.barrier()
        self._publish()

    def _publish(self) -> None:
        """Let the checkpoint appear that all ranks have written."""
        assert self._step is not None
        step, self._step = self._step, None
        if process_group.rank() == 0:
            if self._publishing:
                self._publishing.result()
            self._publishing = self._thread.submit(self._complete, step)

    def _has_room(self, files: dict[str, Any]) -> bool:
        """Whether half of this machine's free memory takes what its ranks copy; else says, once, that not.

        A collective: free memory is asked for before any rank copies.
        """
        free = free_host_memory()
        size = process_group.sum_over_machine(host_bytes(files))
        if free is None or size <= free / 2:
            return True
        if not self._has_said:
            self._has_said = True
            print(
                f"rank {process_group.rank()}: training waits for checkpoints: the copies of this machine's processes "
                f"would take {size / 2**30:.1f} of the {free / 2**30:.1f} GiB that are free",
                flush=True,
            )
        return False

    def _draft(self, step: int) -> Path:
        return self._folder / f".{step_folder(self._folder, step).name}"

    def _copy_best(self, step: int) -> None:
        assert self._best is not None
        with report_write_errors(step_folder(self._folder, step)):
            if self._best.exists():
                # No links: one damaged byte would be in both checkpoints.
                shutil.copytree(self._best, self._draft(step) / "best")

    def _write(self, step: int, files: dict[str, Any] | None, random_states: dict[str, Any]) -> None:
        """Write this rank's files; without `files` the engine does."""
        draft = self._draft(step)
        with report_write_errors(step_folder(self._folder, step)):
            (draft / "engine").mkdir(parents=True, exist_ok=True)
            if files is None:
                self._engine.save(draft / "engine")
            else:
                for name, content in files.items():
                    torch.save(content, draft / "engine" / name)
            name = f"random-{process_group.rank()}.json"
            (draft / name).write_text(json.dumps(random_states), encoding="utf-8")

    def _complete(self, step: int) -> None:
        """Add the hashes, wait for the disk, and give the checkpoint its name; delete those before the last two."""
        final, draft = step_folder(self._folder, step), self._draft(step)
        with report_write_errors(final):
            hashes = {str(file.relative_to(draft)): sha256_file(file) for file in _files(draft)}
            (draft / "hashes.json").write_text(json.dumps(hashes, indent=2), encoding="utf-8")
            for path in (*draft.rglob("*"), draft):
                sync(path)
            draft.replace(final)
            sync(self._folder)
            for old in saved_steps(self._folder)[KEPT:]:
                shutil.rmtree(step_folder(self._folder, old))


def host_bytes(files: Any) -> int:
    """How much memory `copy_to_host` takes."""
    return sum(storage.nbytes() for storage in _storages(files).values())


def copy_to_host(files: Any) -> Any:
    """A copy of nested dictionaries and sequences, with tensors on the CPU; those that share memory share it there."""
    copies = {
        number: storage.clone() if storage.device.type == "cpu" else storage.cpu()
        for number, storage in _storages(files).items()
    }

    def copy(value: Any) -> Any:
        if isinstance(value, Tensor):
            storage = copies[value.untyped_storage()._cdata]
            place = value.storage_offset(), value.size(), value.stride()
            return torch.empty(0, dtype=value.dtype).set_(storage, *place)
        if isinstance(value, dict):
            return {name: copy(each) for name, each in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(map(copy, value))
        return value

    return copy(files)


def _storages(value: Any) -> dict[int, torch.UntypedStorage]:
    """The memory of all tensors in nested dictionaries and sequences, each piece once."""
    if isinstance(value, Tensor):
        storage = value.untyped_storage()
        return {storage._cdata: storage}
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return {number: storage for each in value for number, storage in _storages(each).items()}
    return {}


def load_checkpoint(checkpoints: Path, step: int, engine: Engine) -> None:
    """Put engine and random states back to what they were after `step`.

    Raises:
        InputError: a file of the checkpoint holds something other than tensors and plain values.
    """
    folder = step_folder(checkpoints, step)
    try:
        engine.load(folder / "engine")
    except UnpicklingError as error:
        raise InputError(
            f"{folder / 'engine'}: contains code, or what may be code, instead of weights: none of it was run; find "
            f"out who put it there, then delete {folder} and run again ({one_line(error)})"
        ) from None
    load_randomness(folder / f"random-{process_group.rank()}.json")


def restore_best(checkpoints: Path, step: int, best: Path) -> None:
    """Make `best` what it was after `step`, 0 for the start; on rank 0 only."""
    saved = step_folder(checkpoints, step) / "best"
    if not saved.exists():
        shutil.rmtree(best, ignore_errors=True)
        return
    with atomic_folder(best) as draft:
        shutil.copytree(saved, draft, dirs_exist_ok=True)


def _find_damage(folder: Path) -> str | None:
    """What is wrong with a checkpoint, or None."""
    try:
        hashes = read_json(folder / "hashes.json")
    except InputError as error:
        return str(error)
    present = {str(file.relative_to(folder)) for file in _files(folder)}
    if unexpected := sorted(set(hashes) ^ present):
        return f"{unexpected[0]} is missing or not listed"
    changed = (name for name, value in hashes.items() if sha256_file(folder / name) != value)
    return next((f"{name} has been changed" for name in changed), None)


def newest_step(checkpoints: Path, metrics_step: int) -> int:
    """The newest step that can be resumed, or 0.

    Args:
        checkpoints: the folder of checkpoints.
        metrics_step: the last step that metrics.jsonl holds; a later checkpoint is of no use.
    """
    clear_drafts(checkpoints)
    saved = saved_steps(checkpoints)
    for step in saved:
        folder = step_folder(checkpoints, step)
        damage = _find_damage(folder)
        if damage is None and step > metrics_step:
            damage = f"metrics.jsonl ends at step {metrics_step}"
        if damage is None:
            return step
        print(f"{folder}: damaged ({damage}); taking the checkpoint before it", file=sys.stderr)
        shutil.rmtree(folder)
    if saved:
        print(f"{checkpoints}: no checkpoint is left: starting from step 1", file=sys.stderr)
    return 0


def seed_rank(seed: int, rank: int) -> None:
    """Seed every generator of this process; ranks draw differently, so that their dropout masks differ."""
    value = int(np.random.SeedSequence([seed, rank]).generate_state(1)[0])
    random.seed(value)
    np.random.seed(value)
    torch.manual_seed(value)


def randomness() -> dict[str, Any]:
    """The states of torch (CPU and CUDA), NumPy and Python, for JSON."""
    kind, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    cuda = torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None
    return {
        "torch": torch.get_rng_state().numpy().tobytes().hex(),
        "cuda": None if cuda is None else cuda.numpy().tobytes().hex(),
        "numpy": [kind, [int(number) for number in keys], position, has_gauss, gauss],
        "python": random.getstate(),
    }


def _bytes(text: str) -> torch.Tensor:
    return torch.frombuffer(bytearray.fromhex(text), dtype=torch.uint8)


def load_randomness(path: Path) -> None:
    """Restore what `randomness` gave."""
    state = read_json(path)
    torch.set_rng_state(_bytes(state["torch"]))
    if state["cuda"] is not None:
        torch.cuda.set_rng_state(_bytes(state["cuda"]))
    kind, keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), position, has_gauss, gauss))
    version, numbers, gauss_next = state["python"]
    random.setstate((version, tuple(numbers), gauss_next))
