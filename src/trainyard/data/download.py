"""From a dataset's source to rows in the form of its kind: one Parquet file and its JSON."""

import importlib
import re
from collections.abc import Callable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from trainyard.config.catalogue import Dataset, EmbeddedSource, FilesSource, HubSource, Split
from trainyard.config.slices import split_names
from trainyard.core.errors import InputError
from trainyard.core.files import atomic_file, sha256_file, write_json
from trainyard.data import hub, mirror
from trainyard.data.readers import Row, count, read
from trainyard.data.rows import columns, normalize_rows
from trainyard.data.stored_rows import SCHEMAS
from trainyard.fetch.lock import DataLock, Origin, Request, check_files

GROUP_ROWS = 1000

Progress = Callable[[int], object]


class _Counted:
    """Counts the rows that pass."""

    def __init__(self, rows: Iterator[Row]) -> None:
        self._rows = rows
        self.count = 0

    def __iter__(self) -> Iterator[Row]:
        for row in self._rows:
            self.count += 1
            yield row


def _read(dataset: Dataset, specification: str, files: dict[str, list[Path]]) -> Iterator[Row]:
    """The rows of the source's splits, each a list of files."""
    required, optional = columns(dataset)
    return slice_rows(
        specification,
        rows=lambda split: chain.from_iterable(read(path, required, optional) for path in files[split]),
        count=lambda split: sum(count(path) for path in files[split]),
    )


def _plain_files(request: Request, source: FilesSource, split: str, lock: DataLock) -> list[Path]:
    for name, path in source.files.items():
        if name == split:
            check_files(lock, request, {path: Path(path)}, split)
            return [Path(path)]
    raise InputError(f"source.files: no file for the split {split!r}; there are {', '.join(source.files)}")


def _mirror_files(request: Request, source: HubSource, split: str, lock: DataLock, folder: Path) -> list[Path]:
    files = mirror.split_files(folder, source, split)
    root = mirror.dataset_folder(folder, source)
    check_files(lock, request, {path.relative_to(root).as_posix(): path for path in files}, split)
    return files


def _embedded_rows(source: EmbeddedSource, specification: str) -> Iterator[Row]:
    # by name: a change of a world concerns its own rows alone
    world = importlib.import_module(f"trainyard.data.{source.embedded}")

    def known(split: str) -> Split:
        for name in source.rows:
            if name == split:
                return name
        raise InputError(f"source.rows: no split {split!r}; there are {', '.join(source.rows)}")

    def rows(split: str) -> Iterator[Row]:
        name = known(split)
        items = world.rows(source.part, name, source.rows[name], source.seed)
        for number, values in enumerate(items, 1):
            yield Row(f"{source.embedded} {source.part} {split}", number, values)

    return slice_rows(specification, rows, lambda split: source.rows[known(split)])


def _open(
    name: str, dataset: Dataset, specification: str, folder: Path | None, lock: DataLock
) -> tuple[Iterator[Row], dict[str, Any]]:
    """The source's rows, and what is said of the source beside them."""
    source = dataset.source
    if isinstance(source, EmbeddedSource):
        origin_facts = {
            "source": f"{source.embedded} {source.part}",
            "revision": f"seed {source.seed}",
            "origin": "embedded",
        }
        return _embedded_rows(source, specification), origin_facts
    splits = split_names(specification)
    if isinstance(source, FilesSource):
        request = Request("datasets", name, "files")
        files = {split: _plain_files(request, source, split, lock) for split in splits}
        origin_facts = {"source": ", ".join(source.files.values()), "revision": None, "origin": "files"}
        return _read(dataset, specification, files), origin_facts
    origin: Origin = "hub" if folder is None else "mirror"
    request = Request("datasets", name, origin, source.hub, source.configuration, source.revision)
    revision = source.revision
    files = {}
    for split in splits:
        if folder is None:
            revision, files[split] = hub.split_files(request, source, split, lock)
        else:
            files[split] = _mirror_files(request, source, split, lock, folder)
    origin_facts = {"source": " ".join(filter(None, [source.hub, source.configuration])), "revision": revision}
    return _read(dataset, specification, files), {**origin_facts, "origin": origin}


def _write(rows: Iterator[dict[str, Any]], schema: pa.Schema, path: Path, progress: Progress | None) -> int:
    written = 0
    group: list[dict[str, Any]] = []

    with pq.ParquetWriter(path, schema, compression="zstd") as writer:

        def flush() -> None:
            writer.write_table(pa.Table.from_pylist(group, schema=schema))
            if progress is not None:
                progress(written)

        for row in rows:
            group.append(row)
            written += 1
            if len(group) == GROUP_ROWS:
                flush()
                group.clear()
        if group:
            flush()
    return written


def download(
    name: str,
    dataset: Dataset,
    split: str,
    output: Path,
    mirror_folder: Path | None = None,
    progress: Progress | None = None,
    lock: Path | None = None,
) -> dict[str, Any]:
    """Write the rows of one of our splits to `output` (Parquet), and `{split}.json` beside it.

    Args:
        name: the dataset's name in the catalogue.
        dataset: its entry.
        split: one of its splits.
        output: the Parquet file; the JSON is beside it, with the suffix `.json`.
        mirror_folder: a folder in the hub's layout; with it, no hub is asked.
        progress: called with the number of rows written so far, now and then.
        lock: the data lock, in which the source's files are recorded, or with which they are compared.

    Returns:
        what the JSON holds: dataset, split, kind, rows, source_rows (lines, where WikiText's are joined), source,
        revision, licence, sha256 of the Parquet file, and origin (hub, mirror, files or embedded).

    Raises:
        InputError: the source can't be reached, isn't what the lock records, or holds a row that can't be used; the
            message names it.
    """
    specification = next((part for name, part in dataset.splits.items() if name == split), None)
    if specification is None:
        raise InputError(f"dataset {name}: no split {split!r}; there are {', '.join(dataset.splits)}")
    rows, origin_facts = _open(name, dataset, specification, mirror_folder, DataLock(lock))
    counted = _Counted(rows)
    with atomic_file(output) as draft:
        written = _write(normalize_rows(dataset, iter(counted)), SCHEMAS[dataset.kind], draft, progress)
        if not written:
            raise InputError(f"dataset {name}: {origin_facts['source']}, split {specification}: contains no rows")
        sha256 = sha256_file(draft)
    about = {
        "dataset": name,
        "split": split,
        "kind": dataset.kind,
        "rows": written,
        "source_rows": counted.count,
        **origin_facts,
        "licence": dataset.licence,
        "sha256": sha256,
    }
    write_json(Path(output).with_suffix(".json"), about)
    return about


def slice_rows(specification: str, rows: Callable[[str], Iterator[Row]], count: Callable[[str], int]) -> Iterator[Row]:
    """Yield the rows that `specification` names, such as `train`, `train[10:20]` or `train[:5%]+test`.

    Args:
        specification: split names of the source, with slices.
        rows: gives the rows of one of the source's splits.
        count: gives their number.

    Raises:
        InputError: the slice can't be read.
    """
    if re.fullmatch(r"\w+", specification):
        yield from rows(specification)
        return
    # Percentages are rounded as the library does, so that a mirror and the hub give the same rows.
    from datasets import ReadInstruction  # noqa: PLC0415  (takes a second to import)

    try:
        instruction = ReadInstruction.from_spec(specification)
        parts = instruction.to_absolute({name: count(name) for name in split_names(specification)})
    except (ValueError, AssertionError) as error:
        raise InputError(
            f"splits: {specification!r} is not a split with a slice such as 'train[:95%]' ({error})"
        ) from None
    for part in parts:
        yield from islice(rows(part.splitname), part.from_, part.to)
