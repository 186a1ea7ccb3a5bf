"""What the accounting says of a job that the controller has forgotten; tests/slurm ask a real controller."""

from pathlib import Path

import pytest

from trainyard.launch.slurm import killed_for_memory


def program(folder: Path, name: str, prints: str, status: int = 0) -> None:
    file = folder / name
    file.write_text(f"#!/bin/sh\necho '{prints}'\nexit {status}\n")
    file.chmod(0o755)


@pytest.mark.parametrize(
    ("state", "expected"), [("OUT_OF_MEMORY\nOUT_OF_MEMORY", True), ("FAILED\nFAILED", False), ("", False)]
)
def test_the_accounting_is_asked_where_the_controller_has_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, expected: bool
) -> None:
    program(tmp_path, "scontrol", "slurm_load_jobs error: Invalid job id specified", 1)
    program(tmp_path, "sacct", state)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert killed_for_memory("42") == expected


def test_without_slurm_s_programs_nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not killed_for_memory("42")
