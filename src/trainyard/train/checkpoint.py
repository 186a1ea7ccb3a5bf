"""Checkpoints: a folder that every rank writes into, and that appears whole or not at all.

```
checkpoints/step-000050/
    engine/              what the engine saves: weights and optimizer, each rank its own files
    random-0.json        the random states of each rank
    best/                the best model so far, if there is one: a later one would replace it among the models
    hashes.json          the SHA-256 of every other file; written last
```
The samples are a function of seed and step, and step, tokens, time and best validation
loss are in metrics.jsonl, which is synced before a checkpoint appears: nothing else is saved.
"""

import random
import shutil
import sys
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch

from trainyard.core.errors import InputError, one_line
from trainyard.core.files import (
    atomic_folder,
    clear_drafts,
    read_json,
    report_write_errors,
    sha256_file,
    sync,
    write_json,
)
from trainyard.parallel import process_group
from trainyard.parallel.engine import Engine
from trainyard.train.work_folder import saved_steps

KEPT = 2


def step_folder(checkpoints: Path, step: int) -> Path:
    """The folder of one step's checkpoint."""
    return checkpoints / f"step-{step:06d}"


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file() and file.name != "hashes.json")


def save_checkpoint(checkpoints: Path, step: int, engine: Engine, best: Path | None = None) -> None:
    """Save the state after `step` and the `best` model; a collective. Keeps this checkpoint and the one before it.

    Raises:
        InputError: the disk is full, or may not be written to.
    """
    final = step_folder(checkpoints, step)
    with report_write_errors(final):
        _save(final, engine, best)


def _save(final: Path, engine: Engine, best: Path | None) -> None:
    checkpoints = final.parent
    draft = checkpoints / f".{final.name}"
    if process_group.rank() == 0:
        shutil.rmtree(draft, ignore_errors=True)
        (draft / "engine").mkdir(parents=True)
    process_group.barrier()
    engine.save(draft / "engine")
    save_randomness(draft / f"random-{process_group.rank()}.json")
    process_group.barrier()
    if process_group.rank() == 0:
        if best and best.exists():
            # No links: one damaged byte would be in both checkpoints.
            shutil.copytree(best, draft / "best")
        hashes = {str(file.relative_to(draft)): sha256_file(file) for file in _files(draft)}
        write_json(draft / "hashes.json", hashes)
        for path in (*draft.rglob("*"), draft):
            sync(path)
        draft.replace(final)
        sync(checkpoints)
        for old in saved_steps(checkpoints)[KEPT:]:
            shutil.rmtree(step_folder(checkpoints, old))
    process_group.barrier()


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


def save_randomness(path: Path) -> None:
    """Write the states of torch (CPU and CUDA), NumPy and Python as JSON."""
    kind, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    cuda = torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None
    write_json(
        path,
        {
            "torch": torch.get_rng_state().numpy().tobytes().hex(),
            "cuda": None if cuda is None else cuda.numpy().tobytes().hex(),
            "numpy": [kind, [int(number) for number in keys], position, has_gauss, gauss],
            "python": random.getstate(),
        },
    )


def _bytes(text: str) -> torch.Tensor:
    return torch.frombuffer(bytearray.fromhex(text), dtype=torch.uint8)


def load_randomness(path: Path) -> None:
    """Restore what `save_randomness` wrote."""
    state = read_json(path)
    torch.set_rng_state(_bytes(state["torch"]))
    if state["cuda"] is not None:
        torch.cuda.set_rng_state(_bytes(state["cuda"]))
    kind, keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), position, has_gauss, gauss))
    version, numbers, gauss_next = state["python"]
    random.setstate((version, tuple(numbers), gauss_next))
