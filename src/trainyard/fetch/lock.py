"""The data lock: which files each source was, with their sizes and hashes, so that later downloads are the same.

The first download of a source writes its record into `config/data.lock.yaml`; every later one is compared with it.
A wanted change is accepted by taking the record away (`trainyard.fetch.accept`).
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

import yaml
from filelock import FileLock, Timeout
from pydantic import Field
from tqdm import tqdm

from trainyard.config.values import Entry, NonNegativeInt, Sha256
from trainyard.config.yaml_entries import parse, read_yaml
from trainyard.core.errors import InputError
from trainyard.core.files import report_write_errors, write_text

PATH = Path("config/data.lock.yaml")
LOCK_SECONDS = 60.0
LONG = 1 << 30  # bytes of a file whose hashing is worth a bar
_HEADING = """\
# yaml-language-server: $schema=schema/data.lock.schema.json
# What was downloaded: written at the first download of each source, compared at every later one.
# Commit it with your study. After a wanted change: make accept-data DATA=NAME (docs/how-to/lock-data.md).

"""
_PIECE = 1 << 20
_SHOWN = 5

Section = Literal["datasets", "models", "tokenizers"]
Origin = Literal["hub", "mirror", "files"]


class LockedFile(Entry):
    """A file as it was read."""

    size: NonNegativeInt = Field(description="bytes")
    sha256: Sha256

    def __str__(self) -> str:
        return f"{self.size:,} bytes, SHA-256 {self.sha256}"


class Record(Entry):
    """What a source was when it was first read."""

    source: str | None = Field(None, description="owner/name on the hub")
    configuration: str | None = Field(None, description="the hub's configuration name")
    revision: str | None = Field(None, description="the revision that the catalogue asked for")
    commit: str | None = Field(None, description="the commit that it stood for, which later downloads ask for")
    splits: dict[str, list[str]] = Field(default_factory=dict, description="the files of each split of the source")
    files: dict[str, LockedFile] = Field(description="by their paths in the repository, or in the catalogue")


Lock = dict[Section, dict[str, dict[Origin, Record]]]


@dataclass(frozen=True)
class Request:
    """What an entry of a catalogue asks for, and where it is looked for: it names one record of the lock.

    Attributes:
        section: the catalogue.
        name: the entry's name in it.
        origin: where its files are looked for.
        source: owner/name on the hub; None for plain files.
        configuration: the hub's configuration name.
        revision: as the catalogue has it.
    """

    section: Section
    name: str
    origin: Origin
    source: str | None = None
    configuration: str | None = None
    revision: str | None = None

    def __str__(self) -> str:
        return f"{self.section.removesuffix('s')} {self.name} ({self.origin}{_describe(self)})"

    @property
    def accept_command(self) -> str:
        """The command that accepts a change."""
        return f"make accept-data DATA={self.name} ORIGIN={self.origin}"

    def describe_change(self, record: Record) -> str | None:
        """How the catalogue's entry has changed since the record was made, or None."""
        same = (self.source, self.configuration, self.revision)
        if same == (record.source, record.configuration, record.revision):
            return None
        return f"config/{self.section}.yaml asks for{_describe(self)}, recorded is{_describe(record)}"


class DataLock:
    """The lock in a file; without one nothing is recorded nor compared."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path

    def record(self, request: Request) -> Record | None:
        """The record of a source, if there is one.

        Raises:
            InputError: the catalogue's entry has changed since, or the file can't be read.
        """
        record = _read(self._path).get(request.section, {}).get(request.name, {}).get(request.origin)
        if record and (change := request.describe_change(record)):
            self.refuse(request, [change])
        return record

    def settle(
        self, request: Request, files: Mapping[str, LockedFile], split: str | None = None, commit: str | None = None
    ) -> None:
        """Record the files that were read, or compare them with those recorded. Other files' records stay.

        Args:
            request: whose files they are.
            files: by path, in order; all of the split's, or without one all that the source has.
            split: the source's split that they are.
            commit: what they were downloaded from.

        Raises:
            InputError: a file isn't what was recorded; the message says which, and how to accept it.
        """
        if self._path is None:
            return
        with _hold_lock(self._path):
            lock = _read(self._path)
            origins = lock.setdefault(request.section, {}).setdefault(request.name, {})
            record = origins.get(request.origin)
            if record is None:
                record = Record(
                    source=request.source,
                    configuration=request.configuration,
                    revision=request.revision,
                    commit=commit,
                    files={},
                )
            elif problems := list(_differences(request, record, files, split, commit)):
                self.refuse(request, problems)
            splits = {**record.splits, split: list(files)} if split else record.splits
            now = record.model_copy(update={"files": {**record.files, **files}, "splits": splits})
            if now != origins.get(request.origin):
                origins[request.origin] = now
                _write(self._path, lock)

    def refuse(self, request: Request, problems: list[str]) -> NoReturn:
        """End with what isn't as it was recorded, and what to do."""
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise InputError(
            f"{self._path}: {request} isn't what was recorded: {'; '.join(problems[:_SHOWN])}{more}. "
            f"Put it back as it was; or, if the change is wanted, accept it and run again: {request.accept_command}"
        )

    def forget(self, name: str, origin: Origin | None = None) -> list[str]:
        """Take the records of an entry away, of one origin or of all; give what they were.

        Raises:
            InputError: there is none.
        """
        assert self._path is not None
        with _hold_lock(self._path):
            lock = _read(self._path)
            removed = []
            for section, entries in lock.items():
                origins = entries.get(name, {})
                selected: list[Origin] = [origin] if origin else list(origins)
                for where in selected:
                    if record := origins.pop(where, None):
                        files = f"{len(record.files)} file{'s' if len(record.files) != 1 else ''}"
                        removed.append(f"{section.removesuffix('s')} {name} ({where}): {files}")
            if not removed:
                known = sorted({key for entries in lock.values() for key in entries})
                of = f" of the origin {origin}" if origin else ""
                raise InputError(f"{self._path}: no record of {name}{of}; there are {', '.join(known) or 'none'}")
            _write(self._path, lock)
        return removed


def fingerprint(path: Path) -> LockedFile:
    """Size and SHA-256 of a file, with a bar for a long one."""
    digest, size = hashlib.sha256(), 0
    total = path.stat().st_size
    quiet = True if total < LONG else None  # None: quiet where there is no terminal
    about = {"unit": "B", "unit_scale": True, "dynamic_ncols": True, "leave": False, "disable": quiet}
    with path.open("rb") as file, tqdm(total=total, desc=f"Check {path.name}", **about) as bar:
        while piece := file.read(_PIECE):
            digest.update(piece)
            size += len(piece)
            bar.update(len(piece))
    return LockedFile(size=size, sha256=digest.hexdigest())


def check_files(lock: DataLock, request: Request, files: Mapping[str, Path], split: str | None = None) -> None:
    """Record or compare files that lie here; `files` as `DataLock.settle` takes them.

    Raises:
        InputError: a file is missing, or isn't what was recorded.
    """
    if absent := next((path for path in files.values() if not path.is_file()), None):
        raise InputError(f"{absent}: no such file")
    lock.record(request)
    lock.settle(request, {name: fingerprint(path) for name, path in files.items()}, split)


def _describe(of: Request | Record) -> str:
    parts = (of.source, of.configuration, of.revision and f"at {of.revision}")
    return "".join(f" {part}" for part in parts if part)


def _differences(
    request: Request, record: Record, files: Mapping[str, LockedFile], split: str | None, commit: str | None
) -> Iterator[str]:
    if change := request.describe_change(record):
        yield change
    if commit != record.commit:
        yield f"its commit is {commit}, recorded is {record.commit}"
    for name, actual in files.items():
        recorded = record.files.get(name)
        if recorded and recorded != actual:
            yield f"{name} has {actual}; recorded are {recorded}"
    known = record.splits.get(split, list(files)) if split else list(record.files)
    where = f" in the split {split}" if split else ""
    yield from (f"{name} is new{where}" for name in sorted(set(files) - set(known)))
    yield from (f"{name} is missing{where}" for name in sorted(set(known) - set(files)))
    if split and known != list(files) and set(known) == set(files):
        yield f"the files{where} are in another order"


@contextmanager
def _hold_lock(path: Path) -> Iterator[None]:
    try:
        with report_write_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(path.with_name(f".{path.name}.lock"), timeout=LOCK_SECONDS):
                yield
    except Timeout as error:
        raise InputError(f"{error.lock_file}: held by another download for {LOCK_SECONDS:.0f} s; run again") from None


def _read(path: Path | None) -> Lock:
    return parse(Lock, read_yaml(path), str(path)) if path is not None and path.exists() else {}


def _write(path: Path, lock: Lock) -> None:
    plain: dict[str, dict] = {
        section: {
            name: {origin: record.model_dump(exclude_defaults=True) for origin, record in origins.items()}
            for name, origins in entries.items()
            if origins
        }
        for section, entries in lock.items()
    }
    plain = {section: entries for section, entries in plain.items() if entries}
    # one line per file: leaves alone are written in braces
    write_text(path, _HEADING + yaml.safe_dump(plain, default_flow_style=None, width=1000, allow_unicode=True))
