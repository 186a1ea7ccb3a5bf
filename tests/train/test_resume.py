"""A run that is asked to end, starts twice or starts anew ends as one that nobody disturbed; tests/faults kills it."""

import shutil
import signal
from dataclasses import replace

from kills import kill_with_checkpoints, ranks, same

from trainyard.core.files import read_json, read_json_lines
from trainyard.train.metrics import format_row


def newest_checkpoint(job):
    return max((job.folder / "checkpoints").glob("step-*"))


def test_a_request_to_end_saves_a_checkpoint_first(baseline, new_job):
    job = new_job("asked", baseline.specification)
    with job.start() as process:
        job.wait_for_steps(2, process)
        for trainer in ranks(process):
            trainer.send_signal(signal.SIGTERM)
        said = process.stderr.read().decode()
    step = int(newest_checkpoint(job).name.removeprefix("step-"))
    assert f"interrupted; run again, and it continues after step {step}" in said
    job.run()
    assert f"resuming after step {step}" in job.log.read_text()
    same(job, baseline)


def test_the_best_model_is_that_of_the_resumed_curve(baseline, new_job):
    job = new_job("best", baseline.specification)
    kill_with_checkpoints(job, "rank", count=2)
    assert read_json(job.folder.joinpath("models/best/trainyard.json"))["step"] >= 10
    shutil.rmtree(newest_checkpoint(job))  # a later best model, but step 5 is all that is left
    rows = read_json_lines(job.folder / "metrics.jsonl")
    rows[4]["validation_loss"] = 1e-3  # what is done again may end a bit worse on a GPU; here, surely
    (job.folder / "metrics.jsonl").write_text("".join(map(format_row, rows)))
    job.run()
    assert "resuming after step 5" in job.log.read_text()
    assert read_json(job.output / "summary.json")["best"]["step"] == 5
    assert read_json(job.output / "models/best/trainyard.json")["step"] == 5


def test_two_at_once_on_one_folder_give_one_result(baseline, new_job):
    job = new_job("twice", baseline.specification)
    with job.start() as first:
        job.wait_for_steps(1, first)
        replace(job, log_name="second.log").run()
        assert first.wait() == 0
    same(job, baseline)


def test_a_complete_run_starts_afresh_with_the_same_result(specification, new_job):
    job = new_job("afresh", specification(steps=2))
    job.run()
    seconds, curve, weights = job.rows()[0]["step_seconds"], job.curve(), job.models()
    job.run()
    assert "resuming" not in job.log.read_text()
    assert (job.curve(), job.models()) == (curve, weights)
    assert job.rows()[0]["step_seconds"] != seconds
