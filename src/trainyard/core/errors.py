"""The one kind of error that a user can mend."""

from collections.abc import Sequence


class InputError(Exception):
    """Something that the user gave can't be used.

    The message names the file, the key or row, and the remedy. Scripts print it
    without a traceback; any other exception is a bug and keeps its traceback.
    """


def one_line(words: object, limit: int = 300) -> str:
    """What a library or a file says, on one line of an error, with odd characters by their escapes."""
    text = " ".join(str(words).split())
    printable = "".join(each if each.isprintable() else repr(each)[1:-1] for each in text[:limit])
    return printable + ("..." if len(text) > limit else "")


def shorten(lines: Sequence[str], rest: str, limit: int = 5) -> list[str]:
    """The first lines of a list, and how many more there are, in the words `rest`."""
    more = len(lines) - limit
    return [*lines[:limit], f"{more} {rest}"] if more > 0 else list(lines)
