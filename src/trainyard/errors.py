"""The one kind of error that a user can mend."""


class InputError(Exception):
    """Something that the user gave can't be used.

    The message names the file, the key or row, and the remedy. Scripts print it
    without a traceback; any other exception is a bug and keeps its traceback.
    """


def one_line(words: object, most: int = 300) -> str:
    """What a library or a file says, on one line of an error, with odd characters by their escapes."""
    text = " ".join(str(words).split())
    shown = "".join(each if each.isprintable() else repr(each)[1:-1] for each in text[:most])
    return shown + ("..." if len(text) > most else "")
