"""A full disk and a folder that is read-only end a run with a sentence; when they are mended it continues the same."""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from disks import Disk, small_disk
from kills import Life, lines, said_by, same
from trainings import Job

from processes import stopped

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("forked_ranks")]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with small_disk(tmp_path / "disk") as made:
        yield made


def end_of(life: Life) -> str:
    """What a job says that ends by itself, with an error."""
    said = said_by(life.process)
    assert life.process.returncode
    return said


def test_a_disk_full_of_rows_checkpoints_or_exports_is_named_and_with_room_the_run_ends_the_same(
    disk: Disk,
    specification: Callable[..., dict[str, Any]],
    undisturbed: Callable[..., Job],
    record_property: Callable[[str, object], None],
) -> None:
    asked = {"steps": 180, "checkpoint_every": 60, "validate_every": 180, "keep_steps": [120, 150]}
    job = Job(disk.folder / "job", specification(**asked))
    # after how many rows there is how much room, before which step, and what takes more than that first
    for rows, room, step, place in (
        (1, 0, 60, r"metrics\.jsonl"),
        (1, 200_000, 60, "checkpoints/step-000060"),
        (61, 100_000, 120, "models/step-120"),
    ):
        life = Life(job)
        life.wait_for("step", rows)
        life.wait_for_checkpoints(rows // 60)
        with stopped(life.process):
            assert len(lines(job)) < step - 1, "it was stopped too late"
            disk.fill(life.process, room)
        said = end_of(life)
        assert re.search(rf"{job.root}/work/\S*/{disk.place or place}: can't be written: {re.escape(disk.full)}", said)
        disk.make_room()
    assert job.run()["outcome"] == "finished"
    assert "resuming after step 60" in job.log.read_text()
    same(job, undisturbed(**asked))
    record_property("faults injected", 3)
    record_property("runs recovered", 1)


@dataclass
class Elsewhere(Job):
    """A training whose outputs go to a folder of their own."""

    results: Path = Path()

    @property
    def output(self) -> Path:
        return self.results


def test_results_that_find_no_room_are_copied_when_there_is_some_without_training_again(
    disk: Disk, tmp_path: Path, undisturbed: Callable[..., Job], record_property: Callable[[str, object], None]
) -> None:
    job = Elsewhere(tmp_path / "job", undisturbed().specification, results=disk.folder / "results")
    life = Life(job)
    life.wait_for("step", 2)
    with stopped(life.process):
        disk.fill(life.process)
    assert f"{job.output}/models: can't be written: {disk.full}" in end_of(life)
    disk.make_room()
    trained = job.log.read_bytes()
    assert job.run()["outcome"] == "finished"
    assert job.log.read_bytes() == trained
    assert not list(job.output.glob(".*"))
    same(job, undisturbed())
    record_property("faults injected", 1)
    record_property("runs recovered", 1)


@dataclass
class Unprivileged(Elsewhere):
    """A training by a user whom permissions hold; root's own rights over files are laid down."""

    @property
    def above(self) -> list[str]:
        rights = "-dac_override,-dac_read_search"
        return ["setpriv", "--bounding-set", rights, "--inh-caps", rights] if os.getuid() == 0 else []


def test_a_read_only_folder_is_named_before_anything_is_trained_and_loses_nothing_after(
    tmp_path: Path, undisturbed: Callable[..., Job], record_property: Callable[[str, object], None]
) -> None:
    results = tmp_path / "results"
    results.mkdir(mode=0o555)
    job = Unprivileged(tmp_path / "job", undisturbed().specification, results=results)
    refused = f"{results}: can't be written: this user may not write there; make it writable and run again"
    assert refused in end_of(Life(job))
    assert not job.log.exists()
    results.chmod(0o755)
    life = Life(job)
    life.wait_for("step", 2)
    with stopped(life.process):
        results.chmod(0o555)
    assert f"{results}/models: can't be written: this user may not write there" in end_of(life)
    results.chmod(0o755)
    trained = job.log.read_bytes()
    assert job.run()["outcome"] == "finished"
    assert job.log.read_bytes() == trained
    same(job, undisturbed())
    record_property("faults injected", 2)
    record_property("runs recovered", 1)
