"""Slices of splits in the syntax of the datasets library, such as `train[:95%]`."""

import re
from collections.abc import Callable, Iterator
from itertools import islice

from trainyard.config.slices import split_names
from trainyard.data.readers import Row
from trainyard.errors import InputError


def sliced(specification: str, rows: Callable[[str], Iterator[Row]], count: Callable[[str], int]) -> Iterator[Row]:
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
            f"splits: {specification!r} is no split with a slice such as 'train[:95%]' ({error})"
        ) from None
    for part in parts:
        yield from islice(rows(part.splitname), part.from_, part.to)
