"""Whose lock `make unlock` takes away, and whose it leaves."""

import os
import platform
import time
from pathlib import Path

import psutil
import pytest
from repository import Repository

from trainyard.core.files import read_json, write_json
from trainyard.jobs.unlock import NOTE, other_snakemake, unlock, write_note


@pytest.fixture
def locked(tmp_path: Path) -> Path:
    """A folder as a killed Snakemake leaves it."""
    (tmp_path / "Snakefile").write_text("rule all:\n")
    lock = tmp_path / ".snakemake" / "locks" / "0.input.lock"
    lock.parent.mkdir(parents=True)
    lock.write_text("rows.json\n")
    return lock


def test_a_lock_of_another_machine_is_left_and_the_machine_is_named(
    locked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_json(tmp_path / NOTE, {"host": "login2", "process": 4321})
    assert unlock(tmp_path) == 1
    assert locked.is_file()
    assert capsys.readouterr().err == (
        "Snakemake last ran here on login2 (process 4321), and whether it still runs can't be seen from here: run "
        "`make unlock` on login2; if that machine is gone, delete .snakemake/trainyard-running.json first.\n"
    )


@pytest.mark.parametrize("noted", [True, False])
def test_a_lock_of_a_process_of_this_machine_that_is_gone_is_taken_away(
    locked: Path, tmp_path: Path, noted: bool
) -> None:
    if noted:
        write_json(tmp_path / NOTE, {"host": platform.node(), "process": 2**22 + 1})
    assert unlock(tmp_path) == 0
    assert not locked.exists()


class Process:
    """What psutil tells of a process; of another user's not where it works."""

    def __init__(self, number: int, *command: str, cwd: Path | None = None, age: float = 60.0) -> None:
        place = str(cwd) if cwd else None
        self.info = {"pid": number, "cwd": place, "cmdline": list(command), "create_time": time.time() - age}


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> list[Process]:
    """Those that live on this machine; none at first."""
    living: list[Process] = []
    monkeypatch.setattr(psutil, "process_iter", lambda _: living)
    return living


def test_another_user_s_snakemake_is_known_by_the_note(tmp_path: Path, processes: list[Process]) -> None:
    processes += [Process(number, "python", "/opt/bin/snakemake", "--cores", "2") for number in (70, 71)]
    assert other_snakemake(tmp_path) is None
    write_json(tmp_path / NOTE, {"host": platform.node(), "process": 71})
    assert other_snakemake(tmp_path) == 71


@pytest.mark.parametrize(
    "command", [["/opt/bin/snakemake"], ["python", "-m", "snakemake"], ["python", "-u", "-m", "snakemake", "-n"]]
)
def test_a_snakemake_in_the_folder_is_known_by_its_command(
    tmp_path: Path, processes: list[Process], command: list[str]
) -> None:
    processes += [Process(70, *command, cwd=tmp_path / "other"), Process(71, *command, cwd=tmp_path)]
    assert other_snakemake(tmp_path) == 71


def test_a_snakemake_that_python_code_runs_is_known_by_the_note_and_a_later_process_is_not_taken_for_it(
    tmp_path: Path, processes: list[Process]
) -> None:
    write_json(tmp_path / NOTE, {"host": platform.node(), "process": 71, "started": time.time() - 3600.0})
    processes.append(Process(71, "vim", "notes.md", cwd=tmp_path, age=60.0))
    assert other_snakemake(tmp_path) is None
    processes[:] = [Process(71, "python", "my_pipeline.py", cwd=tmp_path, age=3601.0)]
    assert other_snakemake(tmp_path) == 71


@pytest.mark.parametrize("hours", [-5, 5])
def test_the_clock_of_the_server_that_the_folder_lies_on_says_nothing(
    tmp_path: Path, processes: list[Process], hours: int
) -> None:
    write_json(tmp_path / NOTE, {"host": platform.node(), "process": 71, "started": time.time() - 60.0})
    wrong = time.time() + 3600 * hours
    os.utime(tmp_path / NOTE, (wrong, wrong))
    processes.append(Process(71, "python", "my_pipeline.py", cwd=tmp_path))
    assert other_snakemake(tmp_path) == 71


def test_the_note_names_this_machine_and_process(tmp_path: Path) -> None:
    write_note(tmp_path)
    started = psutil.Process().create_time()
    assert read_json(tmp_path / NOTE) == {"host": platform.node(), "process": os.getpid(), "started": started}


@pytest.mark.slow
def test_a_snakemake_notes_where_it_works_and_a_dry_run_does_not(tmp_path: Path) -> None:
    made = Repository(tmp_path / "trainyard")
    asked = ("--config", "studies=demo", "--", "results/data/tinyworld/rows/train.json")
    made.snakemake("-n", *asked)
    assert not (made.folder / NOTE).exists()
    made.snakemake(*asked)
    assert read_json(made.folder / NOTE)["host"] == platform.node()
