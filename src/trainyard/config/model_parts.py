"""Parts of a model by their names in a study, which are the same for every family: `encoder`, `blocks.0-5`."""

import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator

_PART = re.compile(
    r"(?P<whole>embeddings|encoder|decoder)|(?:(?P<stack>encoder|decoder)\.)?blocks\.(?P<first>\d{1,6})(?:-(?P<last>\d{1,6}))?"
)


@dataclass(frozen=True)
class Part:
    """A part of a model.

    Attributes:
        stack: `embeddings`, `encoder` or `decoder`; empty for the only stack of a model without an encoder.
        blocks: of the stack, from 0; None for all of it.
    """

    stack: str
    blocks: range | None = None


def parse_part(name: str) -> Part:
    """The part that a name means: `embeddings`, `encoder`, `decoder`, `blocks.0`, `encoder.blocks.0-5`.

    Raises:
        ValueError: it means none.
    """
    found = _PART.fullmatch(name)
    if found is None:
        raise ValueError(
            f"{name!r} is no part of a model: write embeddings, encoder, decoder, blocks.0 or blocks.0-5, or of an "
            "encoder-decoder encoder.blocks.0-5"
        )
    if found["whole"]:
        return Part(found["whole"])
    first, last = int(found["first"]), int(found["last"] or found["first"])
    if last < first:
        raise ValueError(f"{name!r}: {last} comes before {first}")
    return Part(found["stack"] or "", range(first, last + 1))


def _check_part(name: str) -> str:
    parse_part(name)
    return name


PartName = Annotated[str, AfterValidator(_check_part)]
