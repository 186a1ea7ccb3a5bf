"""GPUs are pretended here, jobs are real processes (queue_job.py)."""

import json
import os
import random
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from processes import below, wait_for
from trainyard.core.errors import InputError
from trainyard.core.job import Job
from trainyard.hardware.gpus import Gpu
from trainyard.launch import gpu_queue
from trainyard.launch.gpu_queue import acquire_gpus, keep_lease

JOB, SOURCE = Path(__file__).with_name("queue_job.py"), Path(__file__).parents[2] / "src"
Start = Callable[..., subprocess.Popen[bytes]]
FOUR = [Gpu(str(number), f"0000:0{number}:00.0") for number in range(4)]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a job of so many GPUs for some seconds; whatever is left is ended."""
    started = []

    def begin(name: str, count: int, seconds: float, places: Sequence[str] = [gpu.place for gpu in FOUR]):
        words = [sys.executable, str(JOB), "job", str(tmp_path), name, str(count), str(seconds), *places]
        with (tmp_path / f"said-{name}").open("wb") as said:
            environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
            started.append(subprocess.Popen(words, env=environment, stderr=said))
        return started[-1]

    yield begin
    for process in started:
        for each in (*below(process), process):
            each.kill()
        process.wait()


def wait_until_it_began(folder: Path, name: str, job: subprocess.Popen[bytes]) -> None:
    wait_for((folder / f"began-{name}").exists, 30, f"the rank of the {name}", job, folder / f"said-{name}")


def wait_until_it_waits(folder: Path, name: str, job: subprocess.Popen[bytes]) -> None:
    wait_for((folder / f"said-{name}").read_text, 30, f"the word of the {name}", job)


def began(folder: Path, name: str) -> float:
    return json.loads((folder / f"began-{name}").read_text())[0]


@pytest.mark.slow
def test_no_two_jobs_ever_share_a_gpu_and_each_is_served_though_others_are_killed(tmp_path: Path, start: Start) -> None:
    chance = random.Random(0)
    jobs = {str(number): start(str(number), chance.choice([1, 1, 2, 3, 4]), 0.2) for number in range(24)}
    killed = set(chance.sample(sorted(jobs), 8))
    for name in killed:  # some while they wait, some while they hold
        time.sleep(chance.uniform(0, 0.6))
        jobs[name].send_signal(signal.SIGKILL)
    assert all(jobs[name].wait(60) == 0 for name in jobs.keys() - killed)
    assert {path.name for path in tmp_path.glob("served-*")} >= {f"served-{name}" for name in jobs.keys() - killed}
    assert list(tmp_path.glob("shared-*")) == []


def test_gpus_are_free_again_when_their_job_was_killed(tmp_path: Path, start: Start) -> None:
    first = start("first", 4, 60)
    wait_until_it_began(tmp_path, "first", first)
    for process in [*below(first), first]:
        process.kill()
    assert start("second", 4, 0).wait(20) == 0


def test_a_rank_that_outlives_its_job_still_holds_its_gpus(tmp_path: Path, start: Start) -> None:
    first = start("first", 3, 60)
    wait_until_it_began(tmp_path, "first", first)
    (orphan,) = below(first)
    first.kill()
    assert start("second", 1, 0).wait(20) == 0, "the second has the GPU that the first left"
    third = start("third", 2, 0)
    wait_until_it_waits(tmp_path, "third", third)
    assert not (tmp_path / "began-third").exists()
    orphan.kill()
    assert third.wait(20) == 0
    assert list(tmp_path.glob("shared-*")) == []


def test_a_large_job_is_not_passed_by_small_ones(tmp_path: Path, start: Start) -> None:
    first = start("first", 1, 60)
    wait_until_it_began(tmp_path, "first", first)
    large = start("large", 4, 0)
    wait_until_it_waits(tmp_path, "large", large)
    small = {name: start(name, 1, 0) for name in ("a", "b")}
    for name, job in small.items():
        wait_until_it_waits(tmp_path, name, job)
    (tmp_path / "end-first").touch()
    assert [job.wait(20) for job in (large, *small.values())] == [0, 0, 0]
    assert all(began(tmp_path, "large") < began(tmp_path, name) for name in small)


def test_a_job_that_waits_says_so_once_and_for_whom(tmp_path: Path, start: Start) -> None:
    first = start("first", 3, 60)
    wait_until_it_began(tmp_path, "first", first)
    second = start("second", 2, 0)
    wait_until_it_waits(tmp_path, "second", second)
    third = start("third", 1, 0)
    wait_until_it_waits(tmp_path, "third", third)
    (tmp_path / "end-first").touch()
    assert second.wait(20) == third.wait(20) == 0
    said = f"waiting for {{}} of the GPUs 0, 1, 2, 3: process {first.pid} has 0, 1, 2{{}}\n"
    assert (tmp_path / "said-second").read_text() == said.format(2, "")
    ahead = f"; process {second.pid} is ahead of it in the queue"
    assert (tmp_path / "said-third").read_text() == said.format(1, ahead)


def test_a_job_that_may_use_other_gpus_waits_for_nobody(tmp_path: Path) -> None:
    with acquire_gpus(2, FOUR[:2], tmp_path / "slots"), acquire_gpus(2, FOUR[2:], tmp_path / "slots") as variables:
        assert variables["CUDA_VISIBLE_DEVICES"] == "2,3"


def test_names_and_uuids_of_the_user_are_kept(tmp_path: Path) -> None:
    devices = [Gpu("GPU-1f", "0000:01:00.0"), Gpu("MIG-2e", "MIG-2e")]
    with acquire_gpus(2, devices, tmp_path / "slots") as variables:
        assert variables["CUDA_VISIBLE_DEVICES"] == "GPU-1f,MIG-2e"


def test_slurms_assignment_is_kept_and_its_jobs_do_not_wait_for_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")  # in a group of its own, each job has a first GPU
    with ExitStack() as stack:
        for number in ("17", "18"):
            monkeypatch.setenv("SLURM_JOB_ID", number)
            variables = stack.enter_context(acquire_gpus(2, folder=tmp_path / "slots"))
            assert variables["CUDA_VISIBLE_DEVICES"] == "0,1"


def test_jobs_inside_one_allocation_of_slurm_do_not_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    with acquire_gpus(1, folder=tmp_path / "slots") as first, acquire_gpus(1, folder=tmp_path / "slots") as second:
        assert [each["CUDA_VISIBLE_DEVICES"] for each in (first, second)] == ["4", "6"]


def test_where_no_driver_tells_jobs_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_queue, "find_gpus", lambda: None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with acquire_gpus(2, folder=tmp_path / "slots") as variables:
        assert "CUDA_VISIBLE_DEVICES" not in variables
        (job,) = gpu_queue._live_jobs(tmp_path / "slots")
        assert job.holds == ["all"]


def test_an_evaluation_on_a_gpu_takes_a_slot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr("trainyard.evaluate.run.run", lambda **_: seen.append(os.environ["CUDA_VISIBLE_DEVICES"]))
    monkeypatch.setattr(gpu_queue, "FOLDER", tmp_path / "slots")
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    monkeypatch.setenv(gpu_queue.FILE, "")
    monkeypatch.setattr("trainyard.evaluate.workers.keep_freed_memory", lambda: None)  # it is for a process of its own
    monkeypatch.chdir(tmp_path)
    Path("rows").write_text("of no use to what pretends")
    settings = {"metric": "pretend", "settings": {"device": "cuda", "threads": 2}, "dataset": "d", "split": "test"}
    job = Job(
        input={"models": "models", "rows": "rows", "shots": []},
        output={"result": "result"},
        params={"specification": settings},
        wildcards={"study": "s", "run": "r", "evaluation": "e", "checkpoint": "last"},
        threads=1,
        log="log",
    )
    monkeypatch.setattr("trainyard.jobs.script.run_job", lambda _, function: function(job))
    with acquire_gpus(1):
        runpy.run_path(str(SOURCE.parent / "workflow" / "scripts" / "evaluate.py"))
    assert seen == ["6"]


def test_a_job_on_the_cpu_takes_nothing(tmp_path: Path) -> None:
    with acquire_gpus(0, folder=tmp_path / "slots") as variables:
        assert variables == {}
    assert not (tmp_path / "slots").exists()


def test_more_gpus_than_there_are_is_the_users_error(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match=r"needs 5 GPUs, and it may use 4 \(0, 1, 2, 3\)"),
        acquire_gpus(5, FOUR, tmp_path / "slots"),
    ):
        pass


def test_a_rank_that_comes_when_its_job_has_gone_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with acquire_gpus(1, FOUR, tmp_path / "slots") as first:
        pass
    monkeypatch.setenv(gpu_queue.FILE, first[gpu_queue.FILE])
    with acquire_gpus(1, FOUR, tmp_path / "slots"), pytest.raises(RuntimeError, match="are free for others"):
        keep_lease()


@pytest.mark.parametrize("mode", [0o777, 0o720])
def test_a_folder_that_others_may_write_to_is_not_used(tmp_path: Path, mode: int) -> None:
    (tmp_path / "slots").mkdir()
    (tmp_path / "slots").chmod(mode)
    with (
        pytest.raises(InputError, match="other users may write to it; delete it"),
        acquire_gpus(1, FOUR, tmp_path / "slots"),
    ):
        pass
