"""A small disk that can be filled, and a folder that can't be written to."""

import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from processes import below

SIZE = 64_000_000
SMALLEST_FILE = 100_000  # what the log and its like take


class Disk:
    """A disk of its own at a folder: a tmpfs.

    Attributes:
        full: what a job says of it when it is full.
        place: where the job finds that, if always at the same.
    """

    full = "the disk is full; make room and run again"
    place = ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self, process: subprocess.Popen[bytes], room: int = 0) -> None:
        """Leave so many bytes of room (rounded down to pages) for everybody, and so for `process` and all below it."""
        del process
        page = resource.getpagesize()
        with self._filler.open("ab") as file:
            while (rest := shutil.disk_usage(self.folder).free - room) >= page:
                file.write(b"1" * min(rest // page * page, 1_000_000))
                file.flush()

    def make_room(self) -> None:
        """Delete what fills the disk."""
        self._filler.unlink()


class LimitedDisk(Disk):
    """In its place where nothing may be mounted: files may not grow beyond a size, for the processes alone."""

    full = "a file may not be so large here (see ulimit -f); raise the limit and run again"
    place = r"\S+"  # rows are never so many

    def fill(self, process: subprocess.Popen[bytes], room: int = 0) -> None:
        for each in (process, *below(process)):
            size = max(room, SMALLEST_FILE)
            resource.prlimit(each.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def make_room(self) -> None:
        """Processes that are started now have room."""


@contextmanager
def small_disk(folder: Path) -> Iterator[Disk]:
    """A disk of SIZE bytes at a new folder."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        yield LimitedDisk(folder)
        return
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
