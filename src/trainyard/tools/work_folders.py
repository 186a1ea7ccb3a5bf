"""The working folders of trainings: size, step, code and age of each; with --remove old those that are of no use.

`python -m trainyard.tools.work_folders` in the working directory, as `make work-folders` does. Old are folders of other
code than today's, from which a run goes on with `--config resume=anyway` alone, and those of finished runs.
"""

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trainyard.config.engine_options import parse_options
from trainyard.core.errors import InputError
from trainyard.core.files import read_json
from trainyard.estimate.families import load_family
from trainyard.plan.jobs import training_code
from trainyard.report.render.format import plural, size
from trainyard.train.spec import Specification
from trainyard.train.work_folder import WorkFolder, locked_folders

WORK = Path("work")
LOCKS = Path(".snakemake", "locks")

NOT_RECORDED = "not recorded"

State = Literal["in use", "today's code", "other code", "finished"]


@dataclass(frozen=True)
class Found:
    """A working folder as it is listed.

    Attributes:
        path: from the working directory.
        size: bytes of its files.
        step: of its newest checkpoint; 0 where it has none.
        code: which made that, in words.
        age: seconds since something was written into it.
        state: whether anything goes on from it.
    """

    path: Path
    size: int
    step: int
    code: str
    age: float
    state: State

    @property
    def old(self) -> bool:
        """Whether nothing goes on from it by itself."""
        return self.state in ("other code", "finished")


def find(work: Path = WORK) -> list[Found]:
    """Every working folder of a training, in the order of their paths."""
    in_use = locked_folders(work)
    return [_look(WorkFolder(file.parent), in_use) for file in sorted(work.glob("*/*/*/spec.json"))]


def _look(folder: WorkFolder, in_use: Sequence[Path]) -> Found:
    # a trainer may replace files meanwhile
    files = []
    for file in folder.path.rglob("*"):
        with suppress(FileNotFoundError):
            files.append(file.stat())
    state: State = "other code"
    step, code = 0, "not readable"
    # what another version or a bad disk has left is of any shape
    with suppress(InputError, LookupError, TypeError, ValueError, AttributeError):
        versions = folder.versions()
        step, code = folder.saved_step(), str(versions[-1]) if versions else NOT_RECORDED
        if versions and versions[-1].code == _code_today(folder):
            state = "today's code"
    if folder.complete.exists():
        state = "finished"
    if folder.path in in_use:
        state = "in use"
    return Found(
        folder.path,
        sum(each.st_size for each in files),
        step,
        code,
        time.time() - max((each.st_mtime for each in files), default=time.time()),
        state,
    )


def _code_today(folder: WorkFolder) -> str | None:
    """The hash of the code that would train it today; None where today's knows no such run."""
    specification = read_json(folder.specification)
    place = str(folder.specification)
    try:
        setting = Specification.parse(specification, place).parallel
        parse_options(setting.engine, setting.options, place)
        load_family(specification["model"]["family"])
    except InputError:
        return None
    return training_code(specification)


def table(found: Sequence[Found]) -> str:
    """A line for each folder."""
    rows = [("folder", "size", "step", "age", "state", "code")]
    rows += [
        (each.path.as_posix(), size(each.size), str(each.step or "none"), _age(each.age), each.state, each.code)
        for each in found
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _age(seconds: float) -> str:
    hours = int(seconds // 3600)
    if hours < 1:
        return plural(int(seconds // 60), "minute")
    return plural(hours, "hour") if hours < 48 else plural(hours // 24, "day")


def remove(found: Sequence[Found]) -> None:
    """Delete working folders that no trainer holds, and the folders of studies and runs that are empty then.

    Raises:
        InputError: Snakemake works here, and may be about to start a training in one of them.
    """
    if LOCKS.is_dir() and any(LOCKS.iterdir()):
        raise InputError(
            f"{LOCKS}: a Snakemake works in this folder, or was killed: wait for it, or call make unlock first"
        )
    for each in found:
        with WorkFolder(each.path).lock(0):
            shutil.rmtree(each.path)
        for above in each.path.parents[:2]:
            with suppress(OSError):  # there is more in it
                above.rmdir()


def main() -> int:
    """List, or remove, the working folders below the working directory."""
    parser = argparse.ArgumentParser(prog="python -m trainyard.tools.work_folders", description=__doc__)
    parser.add_argument(
        "--remove", choices=["old"], help="delete those of other code and those of finished runs, but none in use"
    )
    arguments = parser.parse_args()
    try:
        found = find()
        old = [each for each in found if each.old]
        if arguments.remove:
            remove(old)
            print(f"removed {plural(len(old), 'working folder')}, {size(sum(each.size for each in old))}")
        elif found:
            print(table(found))
            if any(each.code == NOT_RECORDED for each in found):
                print("resume=anyway goes on from none whose code is not recorded")
            print(
                f"{len(old)} of {len(found)} are old, {size(sum(each.size for each in old))}: REMOVE=old removes them"
            )
        else:
            print(f"no working folders below {WORK.absolute()}")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
