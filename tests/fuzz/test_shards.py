"""Shards of tokens and their index: odd headers, damage, and indexes that say something else."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import odd
import pytest
from hypothesis import strategies as st

from trainyard.config.train import Train
from trainyard.core.errors import InputError
from trainyard.core.files import sha256_file
from trainyard.data.loader import Loader
from trainyard.data.shards import HEADER_BYTES, MAGIC, VERSION, TokenStream, read_shard, verify, write_shards

TRAIN = Train.model_validate({"steps": 1, "batch": 2, "sequence_length": 4, "learning_rate": 1e-3})
INT32 = st.integers(-(2**31), 2**31 - 1)


@st.composite
def shard(draw: st.DrawFn) -> bytes:
    """A header that may lie, and tokens that may be fewer, more, or odd bytes."""
    tokens = draw(st.integers(0, 20))
    magic = draw(st.sampled_from([MAGIC, MAGIC, MAGIC, 20240521, 0]) | INT32)
    version = draw(st.sampled_from([VERSION, VERSION, VERSION, 2]) | INT32)
    count = draw(st.sampled_from([tokens, tokens, tokens, tokens + 1, -1, 2**31 - 1]) | INT32)
    body = draw(st.binary(min_size=2 * tokens, max_size=2 * tokens) | st.binary(max_size=9))
    data = struct.pack("<3i", magic, version, count).ljust(HEADER_BYTES, draw(st.sampled_from([b"\0", b"\xff"]))) + body
    return data[: draw(st.sampled_from([None, None, None, 0, 3, 11, 1023, 1024]))]


def test_a_shard_is_read_or_refused_by_its_file(fuzz: Any, refused: Any, folder: Path) -> None:
    path = folder / "shard-00000.bin"
    write_shards(folder, [np.arange(20, dtype=np.uint16)], 20)
    good = path.read_bytes()

    def check(data: bytes) -> None:
        path.write_bytes(data)
        tokens = refused(lambda: read_shard(path), rf"{path}: \S")
        assert tokens is None or tokens.tobytes() == data[HEADER_BYTES:]

    fuzz(shard() | odd.damaged(good), check, 2500)


def test_an_index_is_used_or_refused_by_its_key(fuzz: Any, refused: Any, folder: Path) -> None:
    shards = write_shards(folder, [np.arange(50, dtype=np.uint16)], 20)
    index = {"kind": "text", "dataset": "mine", "tokens": 50, "vocabulary": 260, "shards": shards}
    path = folder / "index.json"
    place = rf"{folder}(/index\.json|/[\w.-]+)?: \S"

    def check(data: bytes) -> None:
        path.write_bytes(data)
        refused(lambda: verify(folder), place)
        refused(lambda: TokenStream(folder).read(0, 100), place)
        refused(lambda: Loader(folder, TRAIN, 1).micro_batches(1, 0, 1), place)

    whole = odd.changed(index).map(lambda value: json.dumps(value).encode())
    fuzz(whole | st.just(json.dumps(index).encode()).flatmap(odd.damaged), check, 1500)


@pytest.mark.parametrize("file", ["../shard-00000.bin", "/etc/passwd", "", "a/b.bin", "..", "9" * 5_000])
def test_an_index_leads_to_no_file_elsewhere(tmp_path: Path, file: str) -> None:
    folder = tmp_path / "train"
    folder.mkdir()
    shards = write_shards(tmp_path, [np.arange(50, dtype=np.uint16)], 50)
    (folder / "index.json").write_text(json.dumps({"kind": "text", "shards": [shards[0] | {"file": file}]}))
    assert sha256_file(tmp_path / "shard-00000.bin") == shards[0]["sha256"]
    with pytest.raises(InputError, match=r"train/index\.json: shards\.0\.file"):
        TokenStream(folder)
