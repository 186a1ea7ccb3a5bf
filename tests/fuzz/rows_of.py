"""Rows of each kind that work, the datasets that take them from a file, and what is wrong with others."""

from typing import Any

import odd
from hypothesis import strategies as st

from trainyard.config.catalogue import Dataset

GOOD: dict[str, dict[str, Any]] = {
    "text": {"text": "Mia walked to the mill."},
    "pairs": {"id": "1", "source": "Tom: Hi. Ann: No.", "target": "Ann says no."},
    "choices": {
        "id": "1",
        "activity_label": "Cleaning",
        "ctx_a": "A man has a mop.",
        "ctx_b": "he",
        "ctx": "A man has a mop. he",
        "endings": ["mops.", "sleeps [title] well.", "sings.", "eats it."],
        "label": 0,
        "level": "easy",
    },
}
KINDS = tuple(GOOD)
_LABELS = st.sampled_from(["0", "3", 3, 4, -1, "²", "٣", True, 1.0, "9" * 5000, 10**400, None, [1], "1 "])
_ENDINGS = st.sampled_from(
    [
        [],
        ["a"] * 3,
        ["a"] * 5,
        ["a", "", "b", "c"],
        ["a", None, "b", "c"],
        [["a"]] * 4,
        "abcd",
        {"a": 1},
        ["\ud800"] * 4,
    ]
)


def dataset(kind: str, path: object, **more: Any) -> Dataset:
    """A dataset of one file."""
    source = {"files": {"train": str(path)}}
    entry = {"title": "t", "kind": kind, "source": source, "splits": {"train": "train"}, "licence": "MIT"}
    return Dataset.model_validate(entry | more)


@st.composite
def row(draw: st.DrawFn, kind: str) -> Any:
    """A row that works, one with odd values or columns, or none at all."""
    good = GOOD[kind]
    deed = draw(st.sampled_from(["good", "good", "odd value", "odd value", "label", "changed", "anything"]))
    if deed == "odd value":
        return good | {draw(st.sampled_from(list(good))): draw(odd.VALUES)}
    if deed == "label" and kind == "choices":
        return good | draw(st.sampled_from([{"label": draw(_LABELS)}, {"endings": draw(_ENDINGS)}]))
    if deed == "changed":
        return draw(odd.changed(good))
    return draw(odd.VALUES) if deed == "anything" else good


def rows(kind: str) -> st.SearchStrategy[list[Any]]:
    """A few of these."""
    return st.lists(row(kind), max_size=4)
