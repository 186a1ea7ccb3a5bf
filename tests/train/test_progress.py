"""The bar on the terminal."""

import os
import sys
import termios
from contextlib import suppress

import pytest

from trainyard.core.files import write_json
from trainyard.train.metrics import MetricsFile
from trainyard.train.progress import progress
from trainyard.train.work_folder import WorkFolder


@pytest.fixture
def folder(tmp_path):
    """A run of three steps that has done two and is in the middle of the third row."""
    folder = WorkFolder(tmp_path)
    write_json(folder.started, {"steps": 3})
    with MetricsFile(folder.metrics) as metrics:
        for step in (1, 2):
            metrics.append({"step": step, "loss": 4.5 / step})
    with folder.metrics.open("ab") as file:
        file.write(b'{"step": 3, "lo')
    return folder


def _all_of(terminal: int) -> str:
    """What was written to a pseudo-terminal whose other end is closed."""
    with os.fdopen(terminal, "rb", buffering=0) as file:
        chunks = []
        with suppress(OSError):  # the end of a terminal
            while chunk := file.read(65536):
                chunks.append(chunk)
    return b"".join(chunks).decode()


def test_a_terminal_sees_steps_and_loss(folder, monkeypatch):
    ours, theirs = os.openpty()
    termios.tcsetwinsize(ours, (24, 100))
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with progress(folder, "study/run"):
            pass
    seen = _all_of(ours)
    assert "study/run:" in seen
    assert "2/3" in seen
    assert "loss=2.250" in seen


def test_anything_else_is_left_in_peace(folder, capfd):
    with progress(folder, "study/run"):
        pass
    assert capfd.readouterr().err == ""
