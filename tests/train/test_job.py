"""Whole trainings by the launcher: outputs and outcomes."""

import math
import shutil
from itertools import pairwise

import pytest

from trainyard.core.errors import InputError
from trainyard.core.files import read_json, write_json
from trainyard.hardware.cpu import processor_name
from trainyard.launch.launch import LaunchError

OF_PROBES = ["metrics.jsonl", "spec.json", "summary.json"]
OUTPUTS = sorted([*OF_PROBES, "models", "validation.parquet"])


def outputs(job):
    return sorted(path.name for path in job.output.iterdir())


def test_a_run_learns_and_leaves_every_output(baseline):
    job = baseline
    summary, rows = read_json(job.output / "summary.json"), job.rows()
    assert outputs(job) == OUTPUTS
    assert (summary["outcome"], summary["reason"], summary["steps"]) == ("finished", None, 60)
    assert [row["step"] for row in rows] == list(range(1, 61))
    assert rows[-1]["tokens"] == summary["tokens"] == 60 * 4 * 16
    assert [row["step"] for row in rows if "validation_loss" in row] == list(range(5, 61, 5))
    assert rows[0]["loss"] == pytest.approx(math.log(260), abs=0.2)
    assert summary["training_loss"] < rows[0]["loss"] - 0.3
    assert summary["validation_loss"] == rows[-1]["validation_loss"]
    assert sorted(summary["models"]) == ["best", "last", "step-7"]
    assert summary["device_name"] == processor_name()
    assert summary["flops_per_token"] > 6 * summary["parameters"]
    assert summary["peak_host_memory"] > 50e6
    assert read_json(job.output / "spec.json") == job.specification


def test_a_finished_run_leaves_no_checkpoint_behind(baseline):
    assert not list(baseline.folder.rglob("step-*"))
    assert baseline.folder.joinpath("complete").exists()


def test_a_non_finite_loss_is_an_outcome(specification, new_job):
    job = new_job("diverged", specification(learning_rate=1e30, warmup_steps=0, max_grad_norm=None))
    summary = job.run()
    assert summary["outcome"] == "diverged"
    assert "loss is nan at step" in summary["reason"] or "loss is inf at step" in summary["reason"]
    assert summary["steps"] == len(job.rows()) < 12
    assert outputs(job) == OUTPUTS
    assert (job.output / "models" / "NONE.txt").read_text().startswith("diverged: the ")
    assert [path.name for path in (job.output / "models").iterdir()] == ["NONE.txt"]


@pytest.mark.usefixtures("started_ranks")
def test_memory_that_runs_out_is_an_outcome(specification, new_job, memory_limit):
    huge = specification(batch=384, micro_batch=384)
    shape = huge["model"]["shape"] | {"feed_forward": 600_000}
    job = new_job("huge", huge | {"model": huge["model"] | {"shape": shape}})
    with memory_limit(3_000_000_000):
        summary = job.run()
    assert summary["outcome"] == "out-of-memory"
    assert "memory" in summary["reason"]
    assert (job.output / "models" / "NONE.txt").read_text().startswith("out-of-memory: ")


def test_an_unsupported_setting_is_not_started(specification, new_job):
    job = new_job("unsupported", specification())
    summary = job.run(unsupported="fp16 needs a GPU")
    assert (summary["outcome"], summary["reason"]) == ("unsupported", "fp16 needs a GPU")
    assert outputs(job) == OUTPUTS
    assert job.rows() == []
    assert (job.output / "models" / "NONE.txt").read_text() == "unsupported: fp16 needs a GPU\n"
    assert not job.log.exists()


def test_a_batch_larger_than_the_data_is_the_users_to_mend(specification, new_job):
    with pytest.raises(InputError, match=r"fewer than one step of 4000; lower train\.batch"):
        new_job("large", specification(batch=4000)).run()


@pytest.mark.usefixtures("started_ranks")
@pytest.mark.parametrize(
    ("late", "said"),
    [
        ({"keep_steps": [9999]}, r"train\.keep_steps: 9999 lies after the last step, \d+"),
        ({"warmup_steps": 9999}, r"train\.warmup_steps: 9999 is more than the \d+ steps of the run"),
    ],
    ids=["kept", "warm-up"],
)
def test_what_is_asked_for_after_the_last_step_of_some_epochs_ends_the_run_before_the_first(
    specification, new_job, late, said
):
    with pytest.raises(InputError, match=said):
        new_job("late", specification(steps=None, epochs=1, **late)).run()


def test_the_summary_keeps_the_forecast_that_the_training_began_with(specification, new_job, tmp_path):
    asked, forecast = specification(steps=2, warmup_steps=0), tmp_path / "forecast.json"
    first = new_job("first", asked)
    write_json(forecast, {"loss": 1.5})
    assert first.run(forecast=forecast)["forecast"] == {"loss": 1.5}
    again = new_job("again", asked)
    key = again.root / "work" / first.folder.relative_to(first.root / "work")
    write_json(key / "forecast.json", {"loss": 1.5})  # as an attempt leaves it that was killed
    write_json(forecast, {"loss": 1.4})
    assert again.run(forecast=forecast)["forecast"] == {"loss": 1.5}


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_corrupt_shard_is_found_by_its_hash_before_anything_starts(specification, new_job, tmp_path, split):
    damaged = specification()
    shutil.copytree(damaged["data"][split], tmp_path / "tokens")
    damaged["data"][split] = str(tmp_path / "tokens")
    shard = max((tmp_path / "tokens").glob("*.bin"))
    shard.write_bytes(shard.read_bytes()[:-2] + b"\7\0")
    job = new_job("corrupt", damaged)
    with pytest.raises(InputError, match=f"{shard.name}: its SHA-256 isn't the index's"):
        job.run()
    assert not job.log.exists()


def test_a_step_that_overflows_in_fp16_says_that_it_was_skipped(specification, new_job):
    half = specification(steps=3, dropout=0.0) | {"precision": "fp16"}
    half["model"]["shape"] = half["model"]["shape"] | {"initial_deviation": 3.0}
    job = new_job("half", half)
    job.run()
    assert job.rows()[0].get("skipped") is True


@pytest.mark.usefixtures("started_ranks")
def test_a_bug_fails_loudly_with_the_end_of_the_log(specification, new_job):
    broken = specification()
    broken["model"]["family"] = "t5"  # a language model's data for a sequence-to-sequence model
    with pytest.raises(LaunchError, match="the last lines of"):
        new_job("broken", broken).run()


def test_a_probe_has_unequal_batches_and_leaves_no_models(specification, new_job):
    probe = specification(steps=4, dropout=0.0)
    probe |= {"kind": "probe", "data": probe["data"] | {"validation": None}}
    job = new_job("probe", probe)
    assert job.run()["outcome"] == "finished"
    assert outputs(job) == OF_PROBES
    tokens = [row["tokens"] for row in job.rows()]
    assert 0 < tokens[0] < 4 * 16
    assert len({after - before for before, after in pairwise(tokens)}) > 1
    assert not any("validation_loss" in row for row in job.rows())


@pytest.mark.usefixtures("started_ranks")
def test_a_sequence_to_sequence_model_trains_on_pairs(pairs_specification, new_job):
    job = new_job("pairs", pairs_specification(steps=40, learning_rate=1e-2, dropout=0.0))
    summary = job.run()
    assert summary["outcome"] == "finished"
    assert summary["validation_loss"] < job.rows()[0]["loss"] - 0.5
    assert sorted(summary["models"]) == ["best", "last"]
