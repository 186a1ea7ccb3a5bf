"""Killed at any moment and started again, a run ends as if it had not been killed."""

import shutil
import signal
from dataclasses import replace

import psutil
import pytest

from trainyard.files import read_json, read_json_lines
from trainyard.train.metrics import line_of


def trainers(job_process):
    """The ranks below a running job."""
    family = psutil.Process(job_process.pid).children(recursive=True)
    return [process for process in family if "trainyard.train.main" in " ".join(process.cmdline())]


def drafts(job, pattern):
    return list((job.root / "work").glob(f"*/*/*/{pattern}"))


def kill_trainer_when(job, condition):
    """Start a job, kill -9 its first rank when `condition()` holds; what the job said."""
    with job.start() as process:
        job.wait_for(process, condition)
        for trainer in trainers(process)[:1]:
            trainer.kill()
        said = process.stderr.read().decode()
        assert process.wait() != 0
    return said


def newest_checkpoint(job):
    return max((job.folder / "checkpoints").glob("step-*"))


def same(job, other):
    assert job.curve() == other.curve()
    assert job.models() == other.models()
    assert job.models()


@pytest.mark.slow
def test_killed_at_several_moments_it_ends_the_same(baseline, new_job):
    job = new_job("killed", baseline.specification)
    # in the middle of a step, before the first checkpoint
    assert "run again, and it starts from step 1" in kill_trainer_when(job, lambda: job.steps() >= 2)
    # in the middle of an export
    said = kill_trainer_when(job, lambda: drafts(job, "models/.*"))
    assert "the trainer was killed; run again" in said
    # in the middle of a checkpoint
    kill_trainer_when(job, lambda: job.steps() >= 12 and drafts(job, "checkpoints/.step*"))
    # with a file of the newest checkpoint damaged, so that the one before it is taken
    kill_trainer_when(job, lambda: job.steps() >= 26)
    damaged = newest_checkpoint(job)
    weights = next(file for file in sorted(damaged.glob("engine/*")))
    weights.write_bytes(weights.read_bytes()[:-100] + bytes(100))
    job.run()
    assert (
        f"{damaged.name}: damaged (engine/{weights.name} has been changed); taking the checkpoint"
        in job.log.read_text()
    )
    same(job, baseline)


def test_a_killed_launcher_leaves_nothing_behind_and_the_run_continues(baseline, new_job):
    job = new_job("launcher", baseline.specification)
    with job.start() as process:
        job.wait_for(process, lambda: job.steps() >= 8)
        ranks = trainers(process)
        process.kill()
    psutil.wait_procs(ranks, timeout=20)
    assert not any(rank.is_running() for rank in ranks)
    job.run()
    assert "going on after step 5" in job.log.read_text()
    same(job, baseline)


def test_a_request_to_end_saves_a_checkpoint_first(baseline, new_job):
    job = new_job("asked", baseline.specification)
    with job.start() as process:
        job.wait_for(process, lambda: job.steps() >= 2)
        for trainer in trainers(process):
            trainer.send_signal(signal.SIGTERM)
        said = process.stderr.read().decode()
    step = int(newest_checkpoint(job).name.removeprefix("step-"))
    assert f"interrupted; run again, and it continues after step {step}" in said
    job.run()
    assert f"going on after step {step}" in job.log.read_text()
    same(job, baseline)


def test_the_best_model_is_that_of_the_resumed_curve(baseline, new_job):
    job = new_job("best", baseline.specification)
    kill_trainer_when(job, lambda: job.steps() >= 12)
    assert read_json(job.folder.joinpath("models/best/trainyard.json"))["step"] == 10
    shutil.rmtree(newest_checkpoint(job))  # a best model of step 10, but step 5 is all that is left
    rows = read_json_lines(job.folder / "metrics.jsonl")
    rows[4]["validation_loss"] = 1e-3  # what is done again may end a bit worse on a GPU; here, surely
    (job.folder / "metrics.jsonl").write_text("".join(map(line_of, rows)))
    job.run()
    assert "going on after step 5" in job.log.read_text()
    assert read_json(job.output / "summary.json")["best"]["step"] == 5
    assert read_json(job.output / "models/best/trainyard.json")["step"] == 5


def test_two_at_once_on_one_folder_give_one_result(baseline, new_job):
    job = new_job("twice", baseline.specification)
    with job.start() as first:
        job.wait_for(first, lambda: job.steps() >= 1)
        replace(job, log_name="second.log").run()
        assert first.wait() == 0
    same(job, baseline)


def test_a_complete_run_starts_afresh_with_the_same_result(specification, new_job):
    job = new_job("afresh", specification(steps=2))
    job.run()
    seconds, curve, weights = job.rows()[0]["step_seconds"], job.curve(), job.models()
    job.run()
    assert "going on" not in job.log.read_text()
    assert (job.curve(), job.models()) == (curve, weights)
    assert job.rows()[0]["step_seconds"] != seconds


@pytest.mark.slow
def test_two_processes_killed_at_several_moments_end_the_same(specification, new_job):
    whole, job = (new_job(name, specification(processes=2, steps=30)) for name in ("whole", "killed"))
    whole.run()
    kill_trainer_when(job, lambda: job.steps() >= 5)
    kill_trainer_when(job, lambda: job.steps() >= 12 and drafts(job, "checkpoints/.step*"))
    with job.start() as process:
        job.wait_for(process, lambda: job.steps() >= 22)
        trainers(process)[-1].send_signal(signal.SIGTERM)
        assert "interrupted; run again, and it continues after step" in process.stderr.read().decode()
    job.run()
    same(job, whole)


@pytest.mark.long
@pytest.mark.parametrize(("engine", "options"), [("fsdp", {}), ("zero1", {}), ("deepspeed", {"stage": 3})])
def test_sharded_engines_killed_end_the_same(specification, new_job, engine, options):
    sharded = specification(processes=2)
    sharded["parallel"] |= {"engine": engine, "options": options}
    whole, job = (new_job(name, sharded) for name in ("whole", "killed"))
    whole.run()
    kill_trainer_when(job, lambda: job.steps() >= 5)
    job.run()
    same(job, whole)
