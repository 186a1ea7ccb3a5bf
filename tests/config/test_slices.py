"""Slices are read as the datasets library reads them, and tell whether two of them share rows."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from datasets import ReadInstruction
from hypothesis import given, settings
from hypothesis import strategies as st

from trainyard.config.slices import parse_slices, share_rows, split_names

READ = [
    "train",
    "train[:10]",
    "train[10:]",
    "train[10:20]",
    "train[-10:]",
    "train[:-10]",
    "train[-20:-10]",
    "train[:]",
    "train[:95%]",
    "train[95%:]",
    "train[10%:20%]",
    "train[-5%:]",
    "train[10:20%]",
    "train[1_000:2_000]",
    "train[:33%](pct1_dropremainder)",
    "train[:33%](closest)",
    "train+test",
    "train[:10%] + test[5:]",
    "en.train[:1%]",
]
REFUSED = [
    "train[90%]",
    "train[90]",
    "train[:5",
    "train:5]",
    "train[:1.5%]",
    "train[:101%]",
    "train[-101%:]",
    "train[a:b]",
    "train[:5](closest)",
    "train[:5%](up)",
    "train[:5%](pct1_dropremainder)+test[:5%]",
    "train-1",
    "train,test",
    "train[_:5]",
]


@pytest.mark.parametrize("specification", READ)
def test_rows_are_those_that_the_datasets_library_cuts(specification: str) -> None:
    for total in (100, 101, 150, 999, 12_345):
        sizes = dict.fromkeys(split_names(specification), total)
        theirs = [
            (part.splitname, part.from_, part.to)
            for part in ReadInstruction.from_spec(specification).to_absolute(sizes)
        ]
        ours = [(part.split, part.rows(total)) for part in parse_slices(specification)]
        assert ours == [(split, range(first, last)) for split, first, last in theirs]


@pytest.mark.parametrize("specification", REFUSED)
def test_what_the_datasets_library_refuses_is_refused(specification: str) -> None:
    with pytest.raises((ValueError, AssertionError)):
        ReadInstruction.from_spec(specification)
    with pytest.raises(ValueError, match="train"):
        parse_slices(specification)


def outcome(read: Callable[[str], Any], specification: str) -> Any:
    try:
        return read(specification)
    except (ValueError, AssertionError) as error:
        return str(error)


@settings(deadline=None)
@given(st.text(alphabet="train[]:%+-_.()059 ", max_size=16))
def test_any_text_is_read_or_refused_as_the_datasets_library_does(specification: str) -> None:
    theirs, ours = (outcome(read, specification) for read in (ReadInstruction.from_spec, parse_slices))
    if isinstance(theirs, str):
        assert isinstance(ours, str)
    elif isinstance(ours, str):
        # of which the library makes an empty dataset
        assert "names no rows" in ours
    else:
        absolute = theirs.to_absolute(dict.fromkeys((part.split for part in ours), 5000))
        assert [part.rows(5000) for part in ours] == [range(part.from_, part.to) for part in absolute]


@pytest.mark.parametrize("empty", ["train[50%:40%]", "train[5:5]", "train[:0]", "train[100%:]", "train[-5:-10]"])
def test_a_slice_that_is_always_empty_is_refused(empty: str) -> None:
    with pytest.raises(ValueError, match="names no rows, however many the split has"):
        parse_slices(empty)


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ("train", "train", True),
        ("train", "train[:1]", True),
        ("train[:90%]", "train[90%:]", False),
        ("train[:90%]", "train[89%:]", True),
        ("train[:50%]", "train[49%:]", True),
        ("train[:-100]", "train[-100:]", False),
        ("train[:-100]", "train[-101:]", True),
        ("train[:1000]", "train[1000:2000]", False),
        ("train[:1000]", "train[999:]", True),
        ("train[:1000]", "train[500:1500]", True),
        ("train[-5%:]", "train[:95%]", False),
        ("train[-6%:]", "train[:95%]", True),
        # it depends on how many rows there are
        ("train[:1000]", "train[1%:]", False),
        ("train[:50%]", "train[1000:]", False),
        ("train[:1000]", "train[-100:]", False),
    ],
)
def test_whether_two_slices_share_rows_is_told_without_counting_them(one: str, other: str, shared: bool) -> None:
    [first], [second] = parse_slices(one), parse_slices(other)
    assert share_rows(first, second) is share_rows(second, first) is shared


@settings(deadline=None)
@given(st.data())
def test_where_slices_are_said_to_share_rows_they_do_at_every_number_of_rows(data: st.DataObject) -> None:
    bound = st.none() | st.integers(-100, 100)

    def drawn() -> str:
        percent = data.draw(st.sampled_from(["", "%"]))
        start, stop = (data.draw(bound) for _ in range(2))
        return "train[" + ":".join("" if each is None else f"{each}{percent}" for each in (start, stop)) + "]"

    try:
        [first], [second] = parse_slices(drawn()), parse_slices(drawn())
    except ValueError:
        return
    said = share_rows(first, second)
    found = {
        max(mine.start, theirs.start) < min(mine.stop, theirs.stop)
        for total in itertools.chain(range(1000, 1100), range(1100, 12_000, 97), [100_000])
        if (mine := first.rows(total)) and (theirs := second.rows(total))
    }
    assert not said or found == {True}
    assert said or found != {True}
