"""What can't be written is named, whichever library tried to."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from trainyard.core.errors import InputError
from trainyard.core.files import (
    atomic_file,
    atomic_folder,
    check_writable,
    clear_drafts,
    report_write_errors,
    write_text,
)


def copy(full: Path) -> None:
    (full.parent / "model").mkdir()
    (full.parent / "model" / "weights").touch()
    copies = full.parent / "copies"
    shutil.copytree(full.parent / "model", copies, copy_function=lambda *_: full.write_text("1"))


def torch_into_a_file(full: Path) -> None:
    with full.open("wb") as file:
        torch.save(torch.zeros(10_000), file)


WRITERS: dict[str, Callable[[Path], object]] = {
    "Python": lambda full: full.write_text("1"),
    "torch": lambda full: torch.save(torch.zeros(10_000), full),
    "torch, into a file": torch_into_a_file,
    "pyarrow": lambda full: pq.write_table(pa.table({"a": range(100_000)}), full),
    "copytree": copy,
}


@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_is_named_by_every_writer(writer: str, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.symlink_to("/dev/full")  # takes nothing; a link, for some writers delete what they could not write
    said = r"^models/best: can't be written: the disk is full; make room and run again$"
    with pytest.raises(InputError, match=said), report_write_errors("models/best"):
        WRITERS[writer](full)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.EDQUOT, "the quota is used up; make room and run again"),
        (errno.EROFS, "the file system is read-only; make it writable and run again"),
        (errno.EACCES, "this user may not write there; make it writable and run again"),
    ],
)
def test_other_reasons_have_their_remedy(number: int, said: str) -> None:
    with pytest.raises(InputError, match=f"^results: can't be written: {said}$"), report_write_errors("results"):
        raise OSError(number, os.strerror(number), "results/part")


@pytest.mark.parametrize(
    "error",
    [
        KeyError("a bug"),
        OSError(errno.EIO, "I/O"),
        RuntimeError("unexpected type"),
        # of a system call that has to do with no file
        OSError(errno.EPERM, "Operation not permitted"),
        RuntimeError("set_mempolicy: [Errno 1] Operation not permitted"),
    ],
)
def test_another_error_stays_what_it_is(error: Exception) -> None:
    with pytest.raises(type(error)), report_write_errors("results"):
        raise error


def test_an_error_that_was_dealt_with_is_not_the_reason() -> None:
    def deal() -> None:
        try:
            raise OSError(errno.ENOSPC, "full")
        except OSError:
            raise KeyError("a bug") from None

    with pytest.raises(KeyError), report_write_errors("results"):
        deal()


def test_what_cannot_be_read_is_not_said_to_be_unwritable(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").touch()
    with pytest.raises(PermissionError), report_write_errors("models/best"):
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "tokenizer.json"))


def test_a_writer_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "before")
    with atomic_folder(tmp_path / "folder") as draft:
        (draft / "part").write_text("before")
    with pytest.raises(InputError, match="can't be written"), atomic_file(tmp_path / "file"):
        raise OSError(errno.ENOSPC, "full")
    with pytest.raises(InputError, match="can't be written"), atomic_folder(tmp_path / "folder"):
        raise OSError(errno.ENOSPC, "full")
    assert (tmp_path / "file").read_text() == (tmp_path / "folder" / "part").read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_folder_is_tried_without_a_trace_and_drafts_are_cleared(tmp_path: Path) -> None:
    check_writable(tmp_path / "results" / "run")
    assert list((tmp_path / "results" / "run").iterdir()) == []
    (tmp_path / ".models.x1").mkdir()
    (tmp_path / ".models.x1" / "part").touch()
    (tmp_path / ".summary.json.x2").touch()
    (tmp_path / "summary.json").touch()
    clear_drafts(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results", "summary.json"]
