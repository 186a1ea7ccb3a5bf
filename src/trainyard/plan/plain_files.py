"""Plain files that datasets are read from: whether they can be, before anything runs."""

import difflib
import time
from pathlib import Path

from trainyard.core.errors import InputError

AHEAD_SECONDS = 5.0
"""How far a file's time may lie ahead: less than it takes to start a job."""


def check_plain_file(path: str, location: str) -> None:
    """Look at a file without reading it.

    Args:
        path: as the catalogue has it, from the working directory.
        location: the catalogue's file and key.

    Raises:
        InputError: it is missing, is none, or is of a time to come: Snakemake takes what is made of such a file for
            older than it, and deletes it.
    """
    file = Path(path)
    try:
        seen = file.stat()
    except (FileNotFoundError, NotADirectoryError):
        if file.is_symlink():
            raise InputError(f"{location}: {path} is a link to nothing ({file.readlink()}); link it anew") from None
        raise InputError(f"{location}: {path}: no such file{_nearest(file)}") from None
    except OSError as error:
        raise InputError(f"{location}: {path}: {error.strerror}") from None
    if not file.is_file():
        raise InputError(f"{location}: {path} is {'a folder' if file.is_dir() else 'no file'}; name one file")
    if seen.st_mtime > time.time() + AHEAD_SECONDS:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seen.st_mtime))
        raise InputError(
            f"{location}: {path} is of {when}, later than now, so that what is made of it would be outdated at once; "
            f"set the clock that is wrong, or give the file the time of now: touch {path}"
        )


def _nearest(file: Path) -> str:
    """A hint: the file of the nearest name, or the folder that isn't there."""
    folder = next(above for above in file.parents if above.is_dir())
    if folder != file.parent:
        return f"; {folder.joinpath(file.relative_to(folder).parts[0])} isn't there"
    near = difflib.get_close_matches(file.name, sorted(each.name for each in folder.iterdir() if each.is_file()), n=1)
    return f"; did you mean {folder / near[0]}?" if near else ""
