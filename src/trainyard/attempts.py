"""Asking the Hugging Face hub, with bounded retries."""

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from trainyard.errors import InputError

ATTEMPTS = 5
FIRST_WAIT = 1.0

Result = TypeVar("Result")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _passing(error: BaseException) -> bool:
    """Whether another attempt may succeed: no connection, a time-out, too many requests, the server's fault."""
    import httpx2  # noqa: PLC0415  (only where the hub is asked)
    from huggingface_hub.errors import OfflineModeIsEnabled  # noqa: PLC0415

    if any(isinstance(link, OfflineModeIsEnabled) for link in _chain(error)):
        return False
    for link in _chain(error):
        status = getattr(getattr(link, "response", None), "status_code", None)
        if status is not None:
            return status == 429 or status >= 500
    return any(isinstance(link, (ConnectionError, TimeoutError, httpx2.TransportError)) for link in _chain(error))


def attempted(what: str, act: Callable[[], Result], wait: float = FIRST_WAIT) -> Result:
    """Do something that asks the hub; wait and try again, twice as long each time, while the fault may pass.

    Raises:
        InputError: it failed for good; the message says why and what to do.
    """
    import httpx2  # noqa: PLC0415

    for attempt in range(1, ATTEMPTS + 1):
        try:
            return act()
        except (httpx2.HTTPError, OSError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            if not _passing(error):
                raise InputError(f"{what}: {reason}") from error
            if attempt == ATTEMPTS:
                raise InputError(
                    f"{what}: the hub can't be reached ({ATTEMPTS} attempts; {reason}). Try later, or set `mirror` to "
                    "a folder in the hub's layout"
                ) from error
        time.sleep(wait * 2 ** (attempt - 1))
    raise AssertionError
