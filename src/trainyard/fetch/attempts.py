"""Asking the Hugging Face hub, with bounded retries."""

import json
import logging
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from trainyard.core.errors import InputError

ATTEMPTS = 5
FIRST_WAIT = 1.0
LONGEST_WAIT = 300.0  # of what the hub asks for: it counts requests over five minutes

Result = TypeVar("Result")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_transient(error: BaseException) -> bool:
    """Whether another attempt may succeed.

    So it is without a connection, after a time-out, too many requests, the server's fault, half a file, or an answer
    that isn't the hub's: something on the way gave it.
    """
    import httpx2  # noqa: PLC0415  (only where the hub is asked)
    from huggingface_hub.errors import FileMetadataError, OfflineModeIsEnabled  # noqa: PLC0415

    passing = (ConnectionError, TimeoutError, httpx2.TransportError, httpx2.TooManyRedirects, FileMetadataError)
    unreadable = (json.JSONDecodeError, LookupError, TypeError, AttributeError)
    links = list(_chain(error))
    if any(isinstance(link, OfflineModeIsEnabled) for link in links):
        return False
    for link in links:
        status = getattr(getattr(link, "response", None), "status_code", None)
        if status is not None and status >= 400:
            return status in (408, 429) or status >= 500
    if any(isinstance(link, (*passing, *unreadable)) for link in links):
        return True
    # huggingface_hub's word for a file of another size than announced
    return any(type(link) is OSError and link.errno is None for link in links)


def _requested_wait(error: BaseException) -> float:
    """The seconds that the hub asks to wait (Retry-After), `LONGEST_WAIT` at most."""
    for link in _chain(error):
        header = getattr(getattr(link, "response", None), "headers", {}).get("Retry-After", "")
        if header.isdecimal():
            return min(float(header), LONGEST_WAIT)
    return 0.0


def retry(what: str, act: Callable[[], Result]) -> Result:
    """Do something that asks the hub; wait and try again, twice as long each time, while the fault may pass.

    Raises:
        InputError: it failed for good; the message says why and what to do.
    """
    import httpx2  # noqa: PLC0415

    malformed = (LookupError, TypeError, AttributeError)  # what huggingface_hub makes of an answer that isn't the hub's
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return act()
        except (httpx2.HTTPError, OSError, ValueError, RuntimeError, *malformed) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            if isinstance(error, (json.JSONDecodeError, *malformed)):
                reason = f"its answer can't be read: {type(error).__name__}: {reason}"
            if not _is_transient(error):
                raise InputError(f"{what}: {reason}") from error
            if attempt == ATTEMPTS:
                raise InputError(
                    f"{what}: the hub can't be reached ({ATTEMPTS} attempts; {reason}). Try later, or set `mirror` to "
                    "a folder in the hub's layout"
                ) from error
            seconds = max(FIRST_WAIT * 2 ** (attempt - 1), _requested_wait(error))
            logging.warning("%s: %s; attempt %d of %d in %.0f s", what, reason, attempt + 1, ATTEMPTS, seconds)
        time.sleep(seconds)
    raise AssertionError
