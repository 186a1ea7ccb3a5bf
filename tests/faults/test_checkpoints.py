"""What a killed run left is damaged by hand: the newest that is sound is used, and the log says so."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kills import kill_with_checkpoints, same
from trainings import Job

from trainyard.core.errors import InputError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("forked_ranks")]


def truncate(checkpoint: Path) -> None:
    weights = next(checkpoint.glob("engine/*"))
    weights.write_bytes(weights.read_bytes()[:-100])


def flip(file: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def flip_weights(checkpoint: Path) -> None:
    flip(next(checkpoint.glob("engine/*")))


def flip_best(checkpoint: Path) -> None:
    flip(checkpoint / "best" / "model.safetensors")


class Damaged:
    """A run that is killed when it has two checkpoints, again and again, and damaged meanwhile.

    Attributes:
        job: the run.
        kills: how often it was killed here.
        said: what its last life has said.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.kills = 0
        self.said = ""

    def go_on(self) -> None:
        """Let it run from what there is until it has two checkpoints; keeps what its log says."""
        before = len(self.job.log.read_text()) if self.job.log.exists() else 0
        kill_with_checkpoints(self.job, "rank", count=2)
        self.kills += 1
        self.said = self.job.log.read_text()[before:]

    @property
    def checkpoints(self) -> list[Path]:
        """The two of them, the newest first."""
        first, second = sorted((self.job.folder / "checkpoints").glob("step-*"), reverse=True)
        return [first, second]


@pytest.fixture(scope="module")
def killed(specification: Callable[..., dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A run that was killed when it had two checkpoints."""
    job = Job(tmp_path_factory.mktemp("killed") / "job", specification(steps=100))
    Damaged(job).go_on()
    return job


@pytest.fixture
def damaged(killed: Job, tmp_path: Path) -> Damaged:
    """A copy of it, to be damaged."""
    return Damaged(replace(killed, root=shutil.copytree(killed.root, tmp_path / "job")))


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("step-"))


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_is_used(
    damaged: Damaged, undisturbed: Callable[..., Job], record_property: Callable[[str, object], None]
) -> None:
    # tests/train/test_checkpoint.py has the damages of every other file
    damages = (truncate, flip_best)
    for damage in damages:
        newest, before = damaged.checkpoints
        damage(newest)
        damaged.go_on()
        assert f"{newest.name}: damaged (" in damaged.said
        assert "; taking the checkpoint before it" in damaged.said
        assert f"resuming after step {step_of(before)}\n" in damaged.said
    damaged.job.run()
    same(damaged.job, undisturbed(steps=100))
    record_property("faults injected", len(damages) + damaged.kills)
    record_property("kills", damaged.kills)
    record_property("runs recovered", 1)


def test_with_both_checkpoints_damaged_it_starts_from_step_1_and_says_so(
    damaged: Damaged, undisturbed: Callable[..., Job], record_property: Callable[[str, object], None]
) -> None:
    for checkpoint in damaged.checkpoints:
        flip_weights(checkpoint)
    damaged.job.run()
    said = damaged.job.log.read_text()
    assert said.count(": damaged (") == 2
    assert "no checkpoint is left: starting from step 1" in said
    assert "resuming after" not in said
    same(damaged.job, undisturbed(steps=100))
    record_property("faults injected", 2 + damaged.kills)
    record_property("kills", damaged.kills)
    record_property("runs recovered", 1)


def test_damaged_rows_are_taken_anew_from_the_checkpoint_before_them(
    damaged: Damaged, undisturbed: Callable[..., Job], record_property: Callable[[str, object], None]
) -> None:
    metrics = damaged.job.folder / "metrics.jsonl"
    newest, _ = damaged.checkpoints
    metrics.write_bytes(metrics.read_bytes() + b'{"step": 1')  # as a kill leaves the last line
    damaged.go_on()
    assert f"resuming after step {step_of(newest)}\n" in damaged.said
    newest, before = damaged.checkpoints
    rows = metrics.read_bytes().splitlines(keepends=True)
    rows[step_of(newest) - 2] = b"\0\xff garbage \0\n"  # between the two checkpoints
    metrics.write_bytes(b"".join(rows))
    damaged.go_on()
    assert f"{newest.name}: damaged (metrics.jsonl ends at step {step_of(newest) - 2})" in damaged.said
    assert f"resuming after step {step_of(before)}\n" in damaged.said
    metrics.write_bytes(b"")
    damaged.job.run()
    assert "no checkpoint is left: starting from step 1" in damaged.job.log.read_text()
    same(damaged.job, undisturbed(steps=100))
    record_property("faults injected", 3 + damaged.kills)
    record_property("kills", damaged.kills)
    record_property("runs recovered", 1)


@pytest.fixture
def own_data(data: Path, tmp_path: Path) -> Path:
    """A copy of the data, to be damaged."""
    return shutil.copytree(data, tmp_path / "data")


def test_data_that_is_damaged_while_a_run_is_away_is_found_by_its_hash_and_named(
    own_data: Path,
    undisturbed: Callable[..., Job],
    new_job: Callable[[dict[str, Any]], Job],
    record_property: Callable[[str, object], None],
) -> None:
    whole = undisturbed()
    folders = {"train": str(own_data / "train"), "validation": str(own_data / "validation")}
    job = new_job(whole.specification | {"data": whole.specification["data"] | folders})
    kill_with_checkpoints(job, "launcher", count=1)
    step = max(map(step_of, (job.folder / "checkpoints").glob("step-*")))
    faults = 1
    for file in (*sorted((own_data / "train").glob("*.bin"))[::4], own_data / "validation" / "index.json"):
        sound = file.read_bytes()
        for damage in (flip, lambda path: path.write_bytes(path.read_bytes()[:-2])):
            damage(file)
            with pytest.raises(InputError, match=rf"{own_data}/.*; delete .* and run again"):
                job.run()
            file.write_bytes(sound)
            faults += 1
    job.run()
    assert f"resuming after step {step}\n" in job.log.read_text()
    same(job, whole)
    record_property("faults injected", faults)
    record_property("kills", 1)
    record_property("runs recovered", 1)
