"""The state that a training leaves for others to go on from: a member of a search for the next generation.

```
state/
    index.json           the step and the SHA-256 of every other file; a training that did not finish leaves it alone
    metrics.jsonl        every step so far, those of the trainings before it too
    origin.json          the versions of the code that took them
    started.json         its last step, parameters, device
    outcome.json         how it ended
    checkpoints/         step-000050/ alone, the last one, with the best model so far
    validations/         the losses by row of each validation
    models/              best/ and last/
    energy/              what it has taken of the machine, with the trainings before it
```
A training that begins from it is a resume under another specification: batches are a function of seed and step,
everything else that it needs is in the checkpoint and in metrics.jsonl.
"""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from trainyard.core.code_versions import CodeVersion
from trainyard.core.errors import InputError
from trainyard.core.files import atomic_folder, list_files, read_json, report_write_errors, sha256_file, write_json
from trainyard.launch.meter import copy_energy, read_energy, write_energy
from trainyard.train.work_folder import WorkFolder, saved_steps, step_folder

INDEX = "index.json"
_FILES = ("metrics.jsonl", "origin.json", "started.json", "outcome.json")
_FOLDERS = ("validations", "models")


def write_state(output: Path, folder: WorkFolder | None) -> None:
    """Copy what a training has left in its working folder into `output`; None: it did not finish, leaving nothing."""
    step = saved_steps(folder.checkpoints)[0] if folder else None
    with atomic_folder(output) as draft:
        if folder and step:
            for name in _FILES:
                shutil.copyfile(folder.path / name, draft / name)
            for name in _FOLDERS:
                if (folder.path / name).exists():
                    shutil.copytree(folder.path / name, draft / name, ignore=shutil.ignore_patterns(".*"))
            saved = step_folder(folder.checkpoints, step)
            shutil.copytree(saved, draft / "checkpoints" / saved.name)
            write_energy(draft / "energy", read_energy(folder.energy))
        files = {file.relative_to(draft).as_posix(): sha256_file(file) for file in list_files(draft)}
        write_json(draft / INDEX, {"step": step, "files": files})


def begin_from(start: Path, folder: WorkFolder, inputs: dict[str, str], version: CodeVersion) -> None:
    """Fill a working folder, which has taken no step, from the state in `start`; the checkpoint comes last.

    Raises:
        InputError: a file of the state is not what its index says, or the disk is full.
    """
    index = read_json(start / INDEX)
    for name, expected in index["files"].items():
        if not (start / name).is_file() or sha256_file(start / name) != expected:
            raise InputError(f"{start / name}: not what {INDEX} says; delete {start} and run again")
    folder.write_origin(inputs, _versions_after(WorkFolder(start).versions(), version, index["step"] + 1))
    with report_write_errors(folder.path):
        shutil.copyfile(start / "metrics.jsonl", folder.metrics)
        copy_energy(start / "energy", folder.energy)
    for name in ("validations", "checkpoints"):
        if (start / name).exists():
            with atomic_folder(folder.path / name) as draft:
                shutil.copytree(start / name, draft, dirs_exist_ok=True)


def _versions_after(before: Sequence[CodeVersion], version: CodeVersion, step: int) -> list[CodeVersion]:
    """The versions of the code with that which takes `step` and what follows, unless it is the last one already."""
    return [*before, replace(version, step=step)] if replace(before[-1], step=1) != version else list(before)
