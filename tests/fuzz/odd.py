"""What inputs hold when something is wrong with them: odd values, changed structures, damaged bytes."""

import copy
import json
import math
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

TEXTS = st.one_of(
    st.sampled_from(
        [
            "",
            " ",
            "\0",
            "a\0b",
            "\ud800",
            "ok \udfff",
            "\u2028",
            "\ufeffx",
            "\r\n",
            "\t",
            "null",
            "nan",
            "-1",
            "1e999",
            "9" * 5000,
            "0x10",
            "٣",
            "²",
            "../../etc/passwd",
            "/",
            ".",
            "..",
            "~nobody-of-this-name",
            "x" * 300,
            "{{ 7 * 7 }}",
            "<script>",
            "=cmd|' /C calc'!A0",
            "a,b",
            '"',
            "e\u0301" * 50,
        ]
    ),
    st.text(max_size=12),
    st.text(st.characters(codec=None), max_size=6),
)
NUMBERS = st.one_of(
    st.sampled_from([0, -1, 1, 2**31, 2**63, -(2**63) - 1, 10**30, 10**400, 0.0, -0.0, 0.5, 1e308, 5e-324]),
    st.sampled_from([float("nan"), float("inf"), float("-inf")]),
    st.integers(),
    st.floats(),
)
LEAVES = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS)
VALUES = st.recursive(
    LEAVES, lambda part: st.lists(part, max_size=3) | st.dictionaries(TEXTS, part, max_size=3), max_leaves=6
)
"""Anything that JSON holds, and numbers that it doesn't."""


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The keys that lead to each part of a value."""
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield (*path, key)
            yield from places(value[key], (*path, key))


@st.composite
def changed(draw: st.DrawFn, value: Any, most: int = 3) -> Any:
    """A structure with up to `most` of its parts dropped, added, renamed, doubled, nested or replaced."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, most))):
        known = list(places(value))
        if not known:
            return draw(VALUES)
        *path, key = draw(st.sampled_from(known))
        parent = value
        for part in path:
            parent = parent[part]
        _change(draw, parent, key, value)
    return value


def _change(draw: st.DrawFn, parent: Any, key: Any, whole: Any) -> None:
    deed = draw(st.sampled_from(["replace", "drop", "rename", "add", "nest", "borrow", "misspell"]))
    if deed == "drop":
        del parent[key]
    elif deed == "replace":
        parent[key] = draw(VALUES)
    elif deed == "nest":
        parent[key] = draw(st.sampled_from([[parent[key]], {"value": parent[key]}, [parent[key]] * 2]))
    elif deed == "borrow":  # a part of the structure where another should be
        other = whole
        for part in draw(st.sampled_from(list(places(whole)))):
            other = other[part]
        parent[key] = copy.deepcopy(other)
    elif isinstance(parent, dict):
        name = str(key)[:-1] if deed == "misspell" else draw(TEXTS)
        parent[name] = draw(VALUES) if deed == "add" else parent.pop(key)
    else:
        parent.insert(key, draw(VALUES))


@st.composite
def damaged(draw: st.DrawFn, data: bytes, most: int = 4) -> bytes:
    """Bytes of which some are cut off, flipped, left out, doubled or replaced."""
    made = bytearray(data)
    for _ in range(draw(st.integers(1, most))):
        first = draw(st.integers(0, max(0, len(made) - 1)))
        last = min(len(made), first + draw(st.integers(1, 16)))
        deed = draw(st.sampled_from(["cut", "flip", "leave out", "double", "replace", "insert"]))
        if deed == "cut":
            del made[first:]
        elif deed == "flip" and made:
            made[first] ^= 1 << draw(st.integers(0, 7))
        elif deed == "leave out":
            del made[first:last]
        elif deed == "double":
            made[last:last] = made[first:last]
        elif deed == "replace":
            made[first:last] = draw(st.binary(max_size=16))
        else:
            made[first:first] = draw(st.sampled_from([b"\0", b"\xff", b"\xed\xa0\x80", b"\r", b"\xef\xbb\xbf", b"\t"]))
    return bytes(made)


def as_yaml(value: Any) -> str:
    """YAML that stands for just this value, with escapes for what a file can't hold."""
    signs = {"@nan@": ".nan", "@inf@": ".inf", "@-inf@": "-.inf"}

    def plain(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: plain(inner) for key, inner in part.items()}
        if isinstance(part, list):
            return [plain(inner) for inner in part]
        return f"@{part}@" if isinstance(part, float) and not math.isfinite(part) else part

    text = json.dumps(plain(value))
    for sign, written in signs.items():
        text = text.replace(f'"{sign}"', written)
    return text
