"""Values of JSON files, one after another: a value a line, or the items of one array."""

import json
import re
from collections.abc import Iterator
from io import TextIOBase
from pathlib import Path
from typing import Any

from trainyard.core.errors import InputError, one_line
from trainyard.data.lines import head, lines

_PIECE = 1 << 20  # characters
_NOT_JSON = (ValueError, RecursionError)
_SPACE = re.compile(r"[ \t\r\n]*")
_WORD = 10  # characters, more than the longest of JSON's own words and escapes


class Repeating(dict[str, Any]):
    """An object in which a key appears more than once; the last one counts, as in any.

    Attributes:
        names: its keys as they were read.
    """

    names: list[str]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        result = Repeating(pairs)
        result.names = [name for name, _ in pairs]
    return result


_DECODER = json.JSONDecoder(object_pairs_hook=_object)


def values(path: Path) -> Iterator[Any]:
    """Yield a file's values in constant memory, whatever its suffix: what is first tells a list from lines.

    Raises:
        InputError: it is no JSON; the message names the row.
    """
    if not head(path).lstrip().startswith(b"["):
        yield from _of_lines(path)
        return
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            yield from _Array(path, file).items()
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: not UTF-8 ({error.reason}); convert the file") from None


def _of_lines(path: Path) -> Iterator[Any]:
    row = 0
    for _, line in lines(path):
        if not line.strip():
            continue
        row += 1
        try:
            value = _DECODER.decode(line)
        except _NOT_JSON as error:
            torn = not line.lstrip().startswith("{") or not line.rstrip().endswith("}")
            several = isinstance(error, json.JSONDecodeError) and error.msg == "Extra data"
            remedy = "write each object on one line, or all in a list" if torn or several else "fix the row"
            raise InputError(f"{path}, row {row}: not valid JSON ({one_line(error)}); {remedy}") from None
        yield value


class _Array:
    """An array in a file that is read by the piece."""

    def __init__(self, path: Path, file: TextIOBase) -> None:
        self._path = path
        self._file = file
        self._text = ""
        self._at = 0
        self._row = 0

    def items(self) -> Iterator[Any]:
        self._take()  # the bracket
        mark = self._following()
        while mark != "]":
            self._row += 1
            yield self._value()
            if (mark := self._following()) not in ("]", ","):
                raise self._error(f"{mark!r} where ',' or ']' was expected" if mark else "it ends within the list")
            if mark == ",":
                self._take()
        self._take()
        if self._following():
            raise self._error("more follows the list")

    def _error(self, problem: str) -> InputError:
        return InputError(f"{self._path}, row {self._row}: not valid JSON ({problem})")

    def _read(self) -> bool:
        """Read on, twice as much as is at hand; whether there was more."""
        more = self._file.read(max(_PIECE, len(self._text) - self._at))
        self._text, self._at = self._text[self._at :] + more, 0
        return bool(more)

    def _following(self) -> str:
        """The next character that is no white space; nothing at the end."""
        while True:
            space = _SPACE.match(self._text, self._at)
            self._at = space.end() if space else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._read():
                return ""

    def _take(self) -> None:
        self._following()
        self._at += 1

    def _value(self) -> Any:
        self._following()
        while True:
            try:
                value, self._at = _DECODER.raw_decode(self._text, self._at)
            except _NOT_JSON as error:
                if not (self._cut_off(error) and self._read()):
                    raise self._error(one_line(error)) from None
            else:
                return value

    def _cut_off(self, error: Exception) -> bool:
        """Whether the value may continue beyond what is at hand."""
        if not isinstance(error, json.JSONDecodeError):
            return False
        return error.pos > len(self._text) - _WORD or error.msg.startswith("Unterminated string")
