import json
import struct
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainyard.core.errors import InputError
from trainyard.data.shards import TokenStream, read_shard, verify, write_shard, write_shards


def independent_read(path: Path) -> list[int]:
    """A reader of llm.c's format that knows nothing of ours."""
    data = path.read_bytes()
    header = struct.unpack("<256i", data[:1024])
    assert header[:2] == (20240520, 1)
    assert header[3:] == (0,) * 253
    return list(struct.unpack(f"<{header[2]}H", data[1024:]))


def test_a_shard_is_read_by_an_independent_reader_of_the_format(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.bin", np.array([50256, 15496, 995, 65535], dtype=np.uint16))
    assert independent_read(tmp_path / "a.bin") == [50256, 15496, 995, 65535]


@given(
    documents=st.lists(st.lists(st.integers(0, 2**16 - 1), max_size=40), max_size=12),
    shard_tokens=st.integers(1, 50),
    start=st.integers(0, 300),
    count=st.integers(0, 300),
)
def test_any_documents_survive_sharding(documents: list[list[int]], shard_tokens: int, start: int, count: int) -> None:
    whole = [token for document in documents for token in document]
    with TemporaryDirectory() as name:
        folder = Path(name)
        shards = write_shards(folder, (np.array(d, dtype=np.uint16) for d in documents), shard_tokens)
        (folder / "index.json").write_text(json.dumps({"kind": "text", "shards": shards}))
        assert [token for shard in shards for token in independent_read(folder / shard["file"])] == whole
        assert all(shard["tokens"] == shard_tokens for shard in shards[:-1])
        stream = TokenStream(folder)
        assert len(stream) == len(whole)
        assert stream.read(start, count).tolist() == whole[start : start + count]
        verify(folder)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-2], "truncated"),
        (lambda data: data[:1000], "truncated within its header"),
        (lambda data: b"", "truncated within its header"),
        (lambda data: data + b"\0\0", "too long"),
        (lambda data: b"\1" + data[1:], "magic"),
        (lambda data: data[:4] + b"\7\0\0\0" + data[8:], "version 7"),
    ],
)
def test_a_damaged_shard_names_its_file_and_what_is_wrong(
    tmp_path: Path, damage: Callable[[bytes], bytes], message: str
) -> None:
    path = tmp_path / "shard-00000.bin"
    write_shard(path, np.arange(10, dtype=np.uint16))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=rf"shard-00000\.bin: .*{message}"):
        read_shard(path)


def test_a_missing_shard_is_named(tmp_path: Path, text_folder: Callable[..., Path]) -> None:
    folder = text_folder(tmp_path / "data", 2500)
    (folder / "shard-00001.bin").unlink()
    with pytest.raises(InputError, match=r"shard-00001\.bin"):
        TokenStream(folder)
    with pytest.raises(InputError, match=r"shard-00001\.bin"):
        verify(folder)


def test_a_changed_token_is_found_by_its_hash(tmp_path: Path, text_folder: Callable[..., Path]) -> None:
    folder = text_folder(tmp_path / "data", 500)
    path = folder / "shard-00000.bin"
    data = bytearray(path.read_bytes())
    data[2000] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"shard-00000\.bin: its SHA-256"):
        verify(folder)


def test_a_folder_without_an_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"index\.json"):
        TokenStream(tmp_path)


def test_a_shard_of_another_length_than_the_index_says_is_refused(
    tmp_path: Path, text_folder: Callable[..., Path]
) -> None:
    folder = text_folder(tmp_path / "data", 500)
    write_shard(folder / "shard-00000.bin", np.arange(499, dtype=np.uint16))
    with pytest.raises(InputError, match=r"contains 499 tokens, index\.json says 500"):
        TokenStream(folder)
