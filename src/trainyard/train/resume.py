"""Where a run begins: after its own checkpoint, or after one that other code made, or at step 1.

The working folder of a run under other code is another one beside it: the same specification and data are looked for
in what each folder holds.
"""

import logging
import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from trainyard.core.code_versions import CodeVersion, cut
from trainyard.core.errors import InputError
from trainyard.core.files import atomic_folder, clear_drafts, read_json, report_write_errors
from trainyard.launch.meter import copy_energy
from trainyard.train.spec import Specification
from trainyard.train.state import begin_from
from trainyard.train.work_folder import WorkFolder

REMEDY = "--config resume=anyway"


def choose_start(
    folder: WorkFolder, inputs: dict[str, str], version: CodeVersion, anyway: bool, state: Path | None = None
) -> None:
    """Settle by which versions of the code a run is trained, and say so if that leaves a checkpoint unused.

    Args:
        folder: of the run under the code of today, locked, with its spec.json.
        inputs: the hash of each folder of its data.
        version: the code of today.
        anyway: whether to go on from the furthest checkpoint of the same specification and data, whatever code made it.
        state: what another training left, from which this one begins in place of step 1.

    Raises:
        InputError: a trainer holds the folder with that checkpoint, the state is damaged, or the disk is full.
    """
    if folder.outcome() is not None:
        return
    own, other = folder.own_step(), max(_others(folder, inputs), key=WorkFolder.saved_step, default=None)
    if other is not None and anyway and other.saved_step() > own:
        with other.lock():
            _adopt(folder, other, version)
    elif not own:
        # what an earlier call has taken over and never went beyond
        shutil.rmtree(folder.checkpoints, ignore_errors=True)
        if state is None:
            folder.write_origin(inputs, [version])
        else:
            begin_from(state, folder, inputs, version)
        first = folder.saved_step() + 1
        if other is not None and other.saved_step() >= first:
            step, made_by = other.saved_step(), _change(other.versions()[-1], version)
            _say(
                f"{folder.path.parent}: begins at step {first}, though there is a checkpoint after step {step}: "
                f"{made_by}; to go on from it, end this and call again with {REMEDY}"
            )


def _others(folder: WorkFolder, inputs: dict[str, str]) -> Iterator[WorkFolder]:
    """The folders of the same specification and data that other code, or other packages, left with a checkpoint."""
    specification = Specification.parse(read_json(folder.specification))
    for origin in sorted(folder.path.parent.glob("*/origin.json")):
        other = WorkFolder(origin.parent)
        # as the code of today reads it, which gives a setting that the other code didn't know its default; of what a
        # folder of another version holds any part may be missing
        with suppress(InputError, LookupError, TypeError, ValueError):
            if other.path == folder.path or not (other.saved_step() and other.metrics.exists() and other.versions()):
                continue
            theirs = Specification.parse(read_json(other.specification))
            if replace(theirs, data=specification.data) == specification and other.inputs() == inputs:
                yield other


def _adopt(folder: WorkFolder, other: WorkFolder, version: CodeVersion) -> None:
    """Copy what a run under other code has left, so that it goes on from there; the checkpoints come last."""
    step = other.saved_step()
    _say(f"{folder.path.parent}: resumes after step {step}: {_change(other.versions()[-1], version)}")
    shutil.rmtree(folder.checkpoints, ignore_errors=True)
    folder.write_origin(other.inputs(), cut([*other.versions(), replace(version, step=step + 1)], step))
    with report_write_errors(folder.path):
        shutil.copyfile(other.metrics, folder.metrics)
        copy_energy(other.energy, folder.energy)
        if other.forecast.exists():
            shutil.copyfile(other.forecast, folder.forecast)
    for source, copy in ((other.models, folder.models), (other.checkpoints, folder.checkpoints)):
        if source.exists():
            clear_drafts(source)
            with atomic_folder(copy) as draft:
                shutil.copytree(source, draft, dirs_exist_ok=True)


def _change(made_by: CodeVersion, today: CodeVersion) -> str:
    packages = made_by.other_packages(today)
    return f"{made_by} made it, and this is {today}{f' with other packages: {packages}' if packages else ''}"


def _say(text: str) -> None:
    """Tell both the log and the terminal."""
    logging.warning("%s", text)
    print(text, file=sys.stderr)
