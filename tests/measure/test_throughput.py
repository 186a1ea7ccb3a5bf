import json

import pytest

from trainyard.config.catalogue import Model
from trainyard.config.shapes import flops_per_token
from trainyard.measure.throughput import measure, random_batch, speed

SHAPE = {"layers": 2, "width": 32, "heads": 4, "context": 32, "vocabulary": 300}


def cell(family="gpt2", vocabulary=300, **other):
    model = {"name": "tiny", "title": "tiny", "family": family, "tokenizer": "bytes"}
    return {
        "study": "demo",
        "cell": "tiny-cell",
        "model": {**model, "shape": {**SHAPE, "vocabulary": vocabulary}},
        "parallel": {"name": "single", "engine": "single", "options": {}},
        "processes": 1,
        "threads": 1,
        "device": "cpu",
        "precision": "fp32",
        "batch": 2,
        "sequence_length": 16,
        "steps": 4,
        "warmup_steps": 1,
        "activation_checkpointing": False,
        **other,
    }


def measured(tmp_path, *arguments, **settings):
    measure(cell(**settings), tmp_path / "cell.json", tmp_path / "log", *arguments)
    return json.loads((tmp_path / "cell.json").read_text())


def test_throughput_is_of_all_processes_by_the_median_step():
    found = speed([1.0, 2.0, 4.0], {"batch": 8, "processes": 2, "sequence_length": 10})
    assert (found["samples_per_second"], found["tokens_per_second"]) == (8.0, 80.0)
    assert found["step_seconds"] == pytest.approx({"median": 2.0, "p10": 1.2, "p90": 3.6})


@pytest.mark.parametrize("family", ["opt", "t5"])
def test_every_token_of_a_random_batch_is_predicted(family):
    model = Model.model_validate({"title": "", "family": family, "tokenizer": "bytes", "shape": SHAPE})
    batch = random_batch(model, rows=3, length=16, seed=0)
    assert batch["labels"].shape == (3, 16)
    assert ((batch["labels"] >= 0) & (batch["labels"] < 300)).all()
    assert ("decoder_input_ids" in batch) is (family == "t5")


def test_a_cell_that_this_machine_cannot_do_starts_nothing_and_has_null_figures(tmp_path):
    found = measured(tmp_path, "needs a GPU")
    assert (found["outcome"], found["reason"], found["tokens_per_second"]) == ("unsupported", "needs a GPU", None)
    assert not (tmp_path / "log").exists()


@pytest.mark.slow
def test_a_measured_cell_has_speed_memory_and_utilisation_with_their_sources(tmp_path):
    found = measured(tmp_path)
    assert (found["outcome"], found["reason"], found["timing"]) == ("finished", None, "alone")
    assert (found["model"], found["parallel"], found["steps"], found["warmup_steps"]) == ("tiny", "single", 4, 1)
    assert found["tokens_per_second"] == pytest.approx(32 / found["step_seconds"]["median"])
    assert found["memory_kind"] == "host"
    assert 0 < found["peak_memory_increase"] < found["peak_memory"]
    model = Model.model_validate({key: value for key, value in cell()["model"].items() if key != "name"})
    expected = found["tokens_per_second"] * flops_per_token(model, 16) / found["peak_flops"]
    assert found["mfu"] == pytest.approx(expected)
    assert "measured here" in found["peak_source"]


@pytest.mark.slow
def test_memory_that_runs_out_is_a_row_with_the_reason(tmp_path):
    found = measured(tmp_path, vocabulary=2**43)
    assert found["outcome"] == "out-of-memory"
    assert "can't allocate memory" in found["reason"]
    assert found["tokens_per_second"] is None


@pytest.mark.slow
def test_two_processes_of_an_encoder_decoder_are_measured_together(tmp_path):
    fsdp = {"name": "fsdp", "engine": "fsdp", "options": {}}
    found = measured(tmp_path, family="bart", parallel=fsdp, processes=2, precision="bf16")
    assert found["outcome"] == "finished"
    assert found["samples_per_second"] == pytest.approx(4 / found["step_seconds"]["median"])
