"""Lines of text files: UTF-8, and lines that end as everywhere."""

import codecs
from collections.abc import Iterator
from pathlib import Path

from trainyard.core.errors import InputError

_OTHERS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
_HEAD = 1000
_BELL = 7  # the control characters below it hardly occur in any text


def head(path: Path) -> bytes:
    """The first bytes of a text file, without the mark that some programs set before UTF-8.

    Raises:
        InputError: it is UTF-16 or UTF-32.
    """
    with path.open("rb") as file:
        start = file.read(_HEAD)
    # without a mark: every second byte is 0 in Latin letters, 1 to 6 in Cyrillic, Greek, Hebrew and Arabic
    if start.startswith(_OTHERS) or sum(byte < _BELL for byte in start) * 3 > len(start):
        raise InputError(f"{path}: UTF-16 or UTF-32, not UTF-8; convert it: iconv -f UTF-16 -t UTF-8")
    return start.removeprefix(codecs.BOM_UTF8)


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number and text of each line, its end included.

    A line ends with a line feed, a carriage return or both. A form feed, U+0085 or U+2028 is within a line, as it
    does in CSV and JSON.

    Raises:
        InputError: it isn't UTF-8; the message names the line.
    """
    head(path)
    number = 0
    with path.open("rb") as file:
        for piece in file:
            for line in piece.splitlines(keepends=True):
                number += 1
                try:
                    yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    raise InputError(f"{path}, line {number}: not UTF-8 ({error.reason}); convert the file") from None
