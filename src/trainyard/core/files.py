"""Files that appear whole or not at all, and their hashes."""

import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from trainyard.core.errors import InputError

SNAKEMAKES_MARK = ".snakemake_timestamp"


_UMASK = os.umask(0o077)  # it can only be asked by setting it, which no two threads may do at once
os.umask(_UMASK)

_ROOM = "make room and run again"
_RIGHTS = "make it writable and run again"
_REMEDIES = {
    errno.ENOSPC: f"the disk is full; {_ROOM}",
    errno.EDQUOT: f"the quota is used up; {_ROOM}",
    errno.EFBIG: "a file may not be so large here (see ulimit -f); raise the limit and run again",
    errno.EROFS: f"the file system is read-only; {_RIGHTS}",
    errno.EACCES: f"this user may not write there; {_RIGHTS}",
    errno.EPERM: f"this user may not write there; {_RIGHTS}",
}


_TORCH_SAID = ("PytorchStreamWriter failed writing", "unexpected pos")


def explain_write_error(error: BaseException | None) -> tuple[str | None, str] | None:
    """The file, where it is told, and why it can't be written with the remedy; if `error`, or one it is from, says so.

    Other things may not be permitted either, so that this counts of a named file alone.
    """
    while error is not None:
        named = error.filename if isinstance(error, OSError) else None
        file = os.fspath(named) if isinstance(named, str | Path) else None
        # safetensors and shutil.copytree tell the number in words; torch tells none
        match = re.search(r"(?:os error|\[Errno) (\d+)", str(error))
        number = int(match[1]) if match else getattr(error, "errno", None)
        if isinstance(error, RuntimeError) and any(words in str(error) for words in _TORCH_SAID):
            number = errno.ENOSPC
        refused = number in (errno.EACCES, errno.EPERM)
        elsewhere = file is None or Path(file).is_file()  # which it reads
        if number in _REMEDIES and not (refused and elsewhere):
            return file, _REMEDIES[number]
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return None


@contextmanager
def report_write_errors(path: str | Path) -> Iterator[None]:
    """Name a file or folder that the body can't write.

    Raises:
        InputError: the disk is full, or may not be written to.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if problem := explain_write_error(error):
            raise InputError(f"{path}: can't be written: {problem[1]}") from error
        raise


def check_writable(folder: Path) -> None:
    """Make a folder, if it isn't there, and find out now whether files can be written into it.

    Raises:
        InputError: they can't.
    """
    with report_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"1")


def clear_drafts(folder: Path) -> None:
    """Delete what killed writers have left in a folder that nobody else writes to now."""
    for draft in folder.glob(".*"):
        if draft.is_dir():
            shutil.rmtree(draft, ignore_errors=True)
        else:
            with suppress(OSError):  # NFS keeps the names of open files, with a dot
                draft.unlink()


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it is synced and renamed to `path`.

    Raises:
        InputError: the disk is full, or may not be written to.
    """
    path = Path(path)
    with report_write_errors(path), _draft_file(path) as draft:
        yield draft


@contextmanager
def _draft_file(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(descriptor)
    draft = Path(name)
    try:
        yield draft
        draft.chmod(0o666 & ~_UMASK)
        sync(draft)
        draft.replace(path)
        sync(path.parent)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Give an empty temporary folder beside `path`; on success it replaces `path`.

    Raises:
        InputError: the disk is full, or may not be written to.
    """
    path = Path(path)
    with report_write_errors(path), _draft_folder(path) as draft:
        yield draft


@contextmanager
def _draft_folder(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        yield draft
        for file in draft.rglob("*"):
            sync(file)
        draft.chmod(0o777 & ~_UMASK)
        if path.exists():
            shutil.rmtree(path)
        draft.replace(path)
        sync(path.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path`, whole or not at all."""
    with atomic_file(path) as draft:
        draft.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON to `path`, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: the file is missing or is no JSON; the message says where.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON ({error}); delete it and run again") from None


def read_json_lines(path: str | Path) -> list[dict[str, Any]]:
    """Read one JSON object a line.

    Raises:
        InputError: a line is no JSON object; the message names the line.
    """
    rows = []
    for number, line in enumerate(Path(path).read_bytes().splitlines(), 1):  # of a text, it would split at U+2028 too
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}, line {number}: not valid JSON ({error})") from None
        if not isinstance(row, dict):
            raise InputError(f"{path}, line {number}: not a JSON object")
        rows.append(row)
    return rows


def sha256_file(path: str | Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def list_files(folder: str | Path) -> list[Path]:
    """Every file in a folder and below, sorted, without the mark that Snakemake leaves there."""
    return sorted(path for path in Path(folder).rglob("*") if path.is_file() and path.name != SNAKEMAKES_MARK)


def sha256_path(path: str | Path, of_file: Callable[[Path], str] = sha256_file) -> str:
    """One SHA-256 of a file, or of a folder: that of its index.json, which holds the hashes of the files beside it.

    A folder without an index has the hash of its files' names and hashes.

    Args:
        path: a file or a folder that is there.
        of_file: the hash of one file.
    """
    path = Path(path)
    if not path.is_dir():
        return of_file(path)
    if (path / "index.json").is_file():
        return of_file(path / "index.json")
    return sha256_json({file.relative_to(path).as_posix(): of_file(file) for file in list_files(path)})


def sha256_json(value: Any) -> str:
    """The SHA-256 of a JSON value, independent of the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
