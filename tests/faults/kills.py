"""Processes of a real training, ended by SIGKILL at chosen moments."""

import random
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil
from trainings import Job

from processes import AT_ONCE, assert_gone, below, wait_for

DRAFTS = {
    "checkpoint": "work/*/*/*/checkpoints/.step-*",
    "export": "work/*/*/*/models/.*",
    "copying": "results/.*",
}
ATTEMPTS = 6
END_SECONDS = 180


@dataclass(frozen=True)
class Kill:
    """One kill.

    Attributes:
        victim: `rank`, `trainer` (what the launcher started: torchrun, or the only rank) or `launcher`.
        moments: some of `start`, `step`, `checkpoint`, `export` and `copying`, by what was left behind: a checkpoint is
            written while steps are taken.
        said: what the launcher said.
    """

    victim: str
    moments: tuple[str, ...]
    said: str


def ranks(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The ranks of a running job, in their order."""
    found = []
    for each in below(process):
        try:
            words = each.cmdline()
        except psutil.NoSuchProcess:
            continue
        if "trainyard.train.worker" in words and "torch.distributed.run" not in words:
            found.append(each)
    return sorted(found, key=lambda each: each.pid)


def said_by(process: subprocess.Popen[bytes]) -> str:
    """What a job that ends now has said."""
    with process:
        return process.communicate(timeout=END_SECONDS)[1].decode()


def drafts(job: Job, moment: str) -> set[Path]:
    """What a checkpoint, an export or a copying of the outputs has left half done, or is at."""
    return set(job.root.glob(DRAFTS[moment]))


def lines(job: Job) -> list[bytes]:
    """The whole lines of the growing metrics.jsonl."""
    files = list((job.root / "work").glob("*/*/*/metrics.jsonl"))
    return [line for line in files[0].read_bytes().splitlines(keepends=True) if line.endswith(b"\n")] if files else []


class Life:
    """A job from its start to its end by a kill."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._lines = set(lines(job))
        self._drafts = {moment: drafts(job, moment) for moment in DRAFTS}
        self._start = time.time()
        self.process = job.start()

    def rows(self) -> int:
        """The steps that were taken in this life; times of day tell their rows from those of lives before."""
        return sum(line not in self._lines for line in lines(self._job))

    def drafts(self, moment: str) -> set[Path]:
        """What is half written in this life, or was left by it."""
        return drafts(self._job, moment) - self._drafts[moment]

    def wait_for(self, moment: str, rows: int) -> None:
        """Wait for so many steps, and then for a `moment`; the start is when there are ranks."""
        comes = {"start": lambda: self.victims("rank"), "step": lambda: True}
        comes |= {draft: partial(self.drafts, draft) for draft in DRAFTS}
        what = f"{rows} steps and then a {moment}"
        wait_for(lambda: self.rows() >= rows and comes[moment](), 120, what, self.process, every=AT_ONCE)

    def wait_for_checkpoints(self, count: int) -> None:
        """Wait until the last so many checkpoints are of this life, and whole, and no third is there."""

        def come() -> bool:
            found = sorted(self._job.root.glob("work/*/*/*/checkpoints/step-*"), reverse=True)
            with suppress(FileNotFoundError):
                new = [path for path in found if (path / "hashes.json").stat().st_mtime > self._start]
                return len(new) >= count and len(found) <= 2
            return False

        wait_for(come, 120, f"{count} checkpoints", self.process, every=AT_ONCE)

    def victims(self, victim: str) -> Sequence[psutil.Process]:
        """The processes of this kind that live."""
        if victim == "launcher":
            return [psutil.Process(self.process.pid)]
        return below(self.process)[:1] if victim == "trainer" else ranks(self.process)

    def kill(self, victim: str, which: int = 0) -> Kill:
        """End a process, of several ranks number `which`, by SIGKILL, and wait until nothing of the job lives."""
        family = below(self.process)
        with suppress(psutil.NoSuchProcess):
            if found := self.victims(victim):
                found[which % len(found)].kill()
        said = said_by(self.process)
        assert_gone(family)
        left = tuple(moment for moment in DRAFTS if self.drafts(moment))
        if not {"export", "copying"} & {*left}:
            left += ("step" if self.rows() else "start",)
        return Kill(victim, left, said)


def kill_at(job: Job, victim: str, moment: str, rows: int = 1) -> list[Kill]:
    """Kill in the middle of a `moment` after so many steps, again where it was just over; the kills, the last hit."""
    kills = []
    while not kills or moment not in kills[-1].moments:
        assert len(kills) < ATTEMPTS, f"no {moment} was hit: {kills}"
        life = Life(job)
        life.wait_for(moment, rows)
        kills.append(life.kill(victim))
    return kills


def kill_with_checkpoints(job: Job, victim: str, count: int, rows: int = 1) -> Kill:
    """Kill after so many steps, and so many checkpoints of this life that are whole and the last there are."""
    life = Life(job)
    life.wait_for("step", rows)
    life.wait_for_checkpoints(count)
    return life.kill(victim)


def kill_by_chance(job: Job, chance: random.Random, victims: tuple[str, ...], rows: int, seconds: float) -> Kill | None:
    """Kill some process after up to so many steps, or within the first seconds; None where the run had ended before."""
    life = Life(job)
    until = time.monotonic() + seconds * chance.random()
    after = chance.randrange(rows + 1)
    pause, victim = 0.03 * chance.random(), chance.choice(victims)
    while life.process.poll() is None and (time.monotonic() < until if after == 0 else life.rows() < after):
        time.sleep(AT_ONCE)
    time.sleep(pause)  # to meet whatever the step is in
    if life.process.poll() is not None:
        said = said_by(life.process)
        assert life.process.returncode == 0, said
        return None
    kill = life.kill(victim if life.victims(victim) else "launcher", chance.randrange(4))
    return kill if life.process.returncode else None


def ask_to_end(job: Job, rows: int) -> str:
    """Send SIGTERM to the last rank after so many steps, as a cluster does; what the launcher said."""
    life = Life(job)
    life.wait_for("step", rows)
    ranks(life.process)[-1].send_signal(signal.SIGTERM)
    return said_by(life.process)


def same(job: Job, other: Job) -> None:
    """Assert that two trainings ended alike, to the last bit."""
    assert job.curve() == other.curve()
    assert job.validation() == other.validation()
    assert job.models() == other.models()
    assert job.models()
    assert not list(job.output.glob(".*"))
