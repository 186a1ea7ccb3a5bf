"""tiktoken is given no text that ends it, and what it gives stays what it is."""

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st
from tiktoken_ext.openai_public import r50k_pat_str

from trainyard.data import gpt2_bpe

LONG = 1_500_000
MERGES = [b"  ", b"    ", b"\n\n", b" \n", b" a", b"ab", b"'s", b" '", b"\xe2\x80", b"\xc2\xa0", b"  a", b"--"]
# with white space of one byte and of several, and what Python's own pattern takes for white space, and Rust's doesn't
PIECES = [" ", "  ", "\n", "\t", "\r\n", "\x0b", "\x85", "\xa0", "\u2028", "\u3000", "\x1c", "\u200b"]
PIECES += ["a", "ab", "1", "'s", "'", "-", "\u4f60", "\U0001f600", "e\u0301", "\0"]


@pytest.fixture(scope="module")
def encoding() -> tiktoken.Encoding:
    """GPT-2's pattern, with few merges, of white space among others."""
    tokens = [bytes([byte]) for byte in range(256)] + MERGES
    merged = {token: rank for rank, token in enumerate(tokens)}
    return tiktoken.Encoding("small", pat_str=r50k_pat_str, mergeable_ranks=merged, special_tokens={})


@settings(max_examples=1000, deadline=None)
@given(texts=st.lists(st.lists(st.sampled_from(PIECES), max_size=30).map("".join), max_size=3))
def test_a_cut_text_has_the_same_tokens(encoding: tiktoken.Encoding, texts: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(gpt2_bpe, "LONGEST_SPACE", 2)
        assert gpt2_bpe.encode(encoding, texts) == [encoding.encode_ordinary(text) for text in texts]


@pytest.mark.parametrize("run", [" ", "\n", " \n\t", "\u3000"])
@pytest.mark.parametrize("end", ["", "y", "'s", "\u4f60"])
def test_more_white_space_than_tiktoken_takes_is_tokenized(encoding: tiktoken.Encoding, run: str, end: str) -> None:
    text = f"x{run * (LONG // len(run))}{end}"
    (tokens,) = gpt2_bpe.encode(encoding, [text])
    assert encoding.decode(tokens) == text


@pytest.mark.parametrize("run", ["a", "1", "-", "\u4f60", "\U0001f600", "e\u0301", "\0", "\u200b", "\x1c"])
def test_a_megabyte_of_anything_else_is_too(encoding: tiktoken.Encoding, run: str) -> None:
    text = f" {run * (1_000_000 // len(run.encode()))} "
    assert gpt2_bpe.encode(encoding, ["one", text, "two"]) == [
        encoding.encode_ordinary("one"),
        encoding.encode_ordinary(text),
        encoding.encode_ordinary("two"),
    ]
