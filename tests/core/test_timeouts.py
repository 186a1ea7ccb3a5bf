from datetime import timedelta

import pytest

from trainyard.core.errors import InputError
from trainyard.core.timeouts import TIMEOUT, read_timeout


def test_processes_wait_half_an_hour_for_each_other_or_as_long_as_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TIMEOUT, raising=False)
    assert read_timeout() == timedelta(minutes=30)
    monkeypatch.setenv(TIMEOUT, "0.5")
    assert read_timeout() == timedelta(seconds=30)


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan", "inf", ""])
def test_what_is_no_time_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TIMEOUT, text)
    with pytest.raises(InputError, match=rf"{TIMEOUT}: '{text}' is not a number of minutes above 0"):
        read_timeout()
