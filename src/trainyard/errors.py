"""The one kind of error that a user can mend."""


class InputError(Exception):
    """Something that the user gave can't be used.

    The message names the file, the key or row, and the remedy. Scripts print it
    without a traceback; any other exception is a bug and keeps its traceback.
    """
