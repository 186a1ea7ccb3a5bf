"""Token shards in llm.c's format.

A shard is a header of 256 little-endian int32 (magic, version, count of tokens, zeros)
and then the tokens as little-endian uint16. The format is that of karpathy/llm.c
(dev/data/data_common.py), so that tools made for it, or for nanoGPT, read these files.
"""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field

from trainyard.config.values import Name, NonNegativeInt, Sha256
from trainyard.config.yaml_entries import parse
from trainyard.core.errors import InputError
from trainyard.core.files import read_json, sha256_file

MAGIC = 20240520
VERSION = 1
HEADER_BYTES = 256 * 4

Tokens = npt.NDArray[np.uint16]


class _Listed(BaseModel):
    file: Name  # beside the index: no path leads elsewhere
    sha256: Sha256


class _Shard(_Listed):
    tokens: NonNegativeInt


class _Text(BaseModel):
    kind: Literal["text"]
    shards: list[_Shard]


class _Framing(BaseModel):
    before: NonNegativeInt
    after: NonNegativeInt


class _Pairs(BaseModel):
    kind: Literal["pairs"]
    rows: NonNegativeInt
    pad: NonNegativeInt
    end: NonNegativeInt
    end_of_text: NonNegativeInt
    separator: list[NonNegativeInt]
    framing: _Framing
    files: list[_Listed] = Field(min_length=1)


_Index = Annotated[_Text | _Pairs, Field(discriminator="kind")]


def _header(tokens: int) -> bytes:
    header = np.zeros(256, dtype="<i4")
    header[:3] = MAGIC, VERSION, tokens
    return header.tobytes()


def write_shard(path: Path, tokens: npt.ArrayLike) -> str:
    """Write `tokens` (count,) as one shard and return the SHA-256 of the file.

    The caller has checked that every token fits 16 bits.
    """
    body = np.asarray(tokens).astype("<u2", casting="same_kind").tobytes()
    header = _header(len(body) // 2)
    with path.open("wb") as file:
        file.write(header)
        file.write(body)
    return hashlib.sha256(header + body).hexdigest()


def write_shards(folder: Path, documents: Iterable[Tokens], shard_tokens: int) -> list[dict[str, Any]]:
    """Write documents one after another as shards of `shard_tokens` tokens; the last may be shorter.

    A document may end in the next shard. At most one shard is held in memory.

    Returns:
        one `{file, tokens, sha256}` a shard, in order.
    """
    shards: list[dict[str, Any]] = []
    buffer = np.empty(shard_tokens, dtype=np.uint16)
    filled = 0

    def flush() -> None:
        name = f"shard-{len(shards):05d}.bin"
        sha256 = write_shard(folder / name, buffer[:filled])
        shards.append({"file": name, "tokens": filled, "sha256": sha256})

    for tokens in documents:
        rest = tokens
        while len(rest):
            count = min(len(rest), shard_tokens - filled)
            buffer[filled : filled + count] = rest[:count]
            filled += count
            rest = rest[count:]
            if filled == shard_tokens:
                flush()
                filled = 0
    if filled:
        flush()
    return shards


def read_shard(path: Path) -> Tokens:
    """Map the tokens (count,) of a shard into memory, read-only.

    Raises:
        InputError: the file is missing, of another format, or truncated.
    """
    remedy = "delete its folder and run again"
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            header = np.frombuffer(file.read(HEADER_BYTES).ljust(HEADER_BYTES, b"\0"), dtype="<i4")
    except FileNotFoundError:
        raise InputError(f"{path}: no such shard; {remedy}") from None
    if size < HEADER_BYTES:
        raise InputError(f"{path}: truncated within its header ({size} of {HEADER_BYTES} bytes); {remedy}")
    if header[0] != MAGIC:
        raise InputError(f"{path}: not a shard of 16-bit tokens (magic {header[0]}, not {MAGIC}); {remedy}")
    if header[1] != VERSION:
        raise InputError(f"{path}: shard of version {header[1]}, not {VERSION}; {remedy}")
    count = int(header[2])
    expected = HEADER_BYTES + 2 * count
    if size != expected:
        what = "truncated" if size < expected else "too long"
        raise InputError(f"{path}: {what}: its header says {count} tokens ({expected} bytes), it has {size}; {remedy}")
    if count == 0:
        return np.empty(0, dtype="<u2")
    return np.memmap(path, dtype="<u2", mode="r", offset=HEADER_BYTES, shape=(count,))


def read_index(folder: Path) -> dict[str, Any]:
    """Read a folder's `index.json`, which is written last.

    Raises:
        InputError: there is none, or it is damaged.
    """
    path = Path(folder) / "index.json"
    index = read_json(path)
    try:
        parse(_Index, index, str(path))
    except InputError as error:
        raise InputError(f"{error}; delete its folder and run again") from None
    return index


def _list_files(index: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for entry in index["shards"] if index["kind"] == "text" else index["files"]:
        yield entry["file"], entry["sha256"]


def verify(folder: Path) -> dict[str, Any]:
    """Check every file of a folder of tokens against the hashes of its index; return the index.

    Raises:
        InputError: a file is missing or isn't what was written.
    """
    folder = Path(folder)
    index = read_index(folder)
    for name, sha256 in _list_files(index):
        path = folder / name
        if not path.is_file():
            raise InputError(f"{path}: listed in index.json, but missing; delete its folder and run again")
        if path.suffix == ".bin":
            read_shard(path)
        if sha256_file(path) != sha256:
            raise InputError(f"{path}: its SHA-256 isn't the index's: damaged; delete its folder and run again")
    return index


class TokenStream:
    """The tokens of a folder's shards as one sequence, mapped into memory."""

    def __init__(self, folder: Path) -> None:
        """Open the shards of `folder`.

        Raises:
            InputError: a shard is missing, damaged, or not as long as the index says.
        """
        index = read_index(folder)
        if index["kind"] != "text":
            raise InputError(f"{folder}: contains {index['kind']}, not text")
        self._shards = []
        for entry in index["shards"]:
            tokens = read_shard(Path(folder) / entry["file"])
            if len(tokens) != entry["tokens"]:
                raise InputError(
                    f"{Path(folder) / entry['file']}: contains {len(tokens)} tokens, index.json says "
                    f"{entry['tokens']}; delete its folder and run again"
                )
            self._shards.append(tokens)
        self._ends = np.cumsum([0, *(len(tokens) for tokens in self._shards)])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def read(self, start: int, count: int) -> Tokens:
        """The tokens (count,) from `start` on, over the borders of shards; fewer at the end."""
        parts = []
        stop = min(start + count, len(self))
        while start < stop:
            shard = int(np.searchsorted(self._ends, start, side="right")) - 1
            first = int(self._ends[shard])
            parts.append(self._shards[shard][start - first : stop - first])
            start = min(stop, int(self._ends[shard + 1]))
        return np.concatenate(parts) if parts else np.empty(0, dtype="<u2")
