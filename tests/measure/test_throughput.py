import json
from types import ModuleType

import psutil
import pytest

from engine_settings import cell_train
from trainyard.config.catalogue import Model
from trainyard.config.train import Train
from trainyard.hardware.cpu import processor_name
from trainyard.launch.launch import LaunchError
from trainyard.measure import throughput
from trainyard.measure.throughput import measure
from trainyard.measure.worker import make_random_batch

SHAPE = {"layers": 2, "width": 32, "heads": 4, "context": 32, "vocabulary": 300}
# OPT-350M's post-norm and embedding projection, and activations of some 12 MB a sequence
WIDE = SHAPE | {"width": 256, "context": 256, "embedding_width": 32, "post_norm": True, "dropout": 0.0}


def cell(family="gpt2", shape=SHAPE, name="tiny", batch=2, sequence_length=16, **other):
    return {
        "study": "demo",
        "cell": "tiny-cell",
        "launch": 1,
        "kind": "cell",
        "model": {"name": name, "family": family, "tokenizer": "bytes", "shape": shape},
        "parallel": {"name": "single", "engine": "single", "options": {}, "tensor": 1, "pipeline": 1},
        "processes": 1,
        "threads": 1,
        "device": "cpu",
        "precision": "fp32",
        "batch": batch,
        "sequence_length": sequence_length,
        "train": cell_train(batch or 1, sequence_length),
        "memory_limit": None,
        "steps": 4,
        "warmup_steps": 1,
        "profiled_steps": 2,
        **other,
    }


def host_limit(megabytes):
    return {"kind": "host", "bytes": megabytes * 10**6}


def measured(tmp_path, *arguments, **settings):
    measure(cell(**settings), tmp_path / "cell.json", tmp_path / "log", *arguments)
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".first") in (
        ["cell.json", "log"],
        ["cell.json"],
    )
    return json.loads((tmp_path / "cell.json").read_text())


@pytest.fixture
def failing(monkeypatch):
    """Processes that end as the model's name says."""
    monkeypatch.setattr(throughput, "worker", ModuleType("failing"))


@pytest.mark.parametrize("family", ["opt", "t5"])
def test_every_token_of_a_random_batch_is_predicted(family):
    model = Model.model_validate({"title": "", "family": family, "tokenizer": "bytes", "shape": SHAPE})
    train = Train.model_validate(cell_train(3, 16, target_length=9))
    batch = make_random_batch(model, train, rows=3, seed=0)
    assert batch["input_ids"].shape == (3, 16)
    assert batch["labels"].shape == (3, 9 if family == "t5" else 16)
    assert ((batch["labels"] >= 0) & (batch["labels"] < 300)).all()
    assert ("decoder_input_ids" in batch) is (family == "t5")


def test_a_cell_that_this_machine_cannot_do_starts_nothing_and_has_null_figures(tmp_path):
    found = measured(tmp_path, "needs a GPU")
    assert (found["outcome"], found["reason"], found["tokens_per_second"]) == ("unsupported", "needs a GPU", None)
    assert found["predicted_memory"] is None
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize(("own", "told", "rate"), [(0.1, None, 0.1), (0.1, 0.0, 0.0), (0.0, 0.2, 0.2)])
def test_a_row_says_with_which_dropout_its_cell_trains(tmp_path, own, told, rate):
    train = cell_train(2, 16, dropout=told)
    assert measured(tmp_path, "needs a GPU", shape=SHAPE | {"dropout": own}, train=train)["dropout"] == rate


def test_a_search_that_this_machine_cannot_do_tries_nothing(tmp_path):
    found = measured(
        tmp_path, "needs a GPU", kind="search", batch=None, search={"smallest": 1, "largest": 8, "steps": 2}
    )
    assert (found["outcome"], found["largest_batch"], found["tried"]) == ("unsupported", None, [])


@pytest.mark.slow
def test_a_launch_has_speed_and_memory_with_their_sources(tmp_path):
    found = measured(tmp_path)
    assert (found["outcome"], found["reason"], found["timing"]) == ("finished", None, "alone")
    assert (found["model"], found["parallel"], found["steps"], found["warmup_steps"]) == ("tiny", "single", 4, 1)
    assert found["tokens_per_second"] == pytest.approx(32 / found["step_seconds"]["median"])
    assert found["memory_kind"] == "host"
    # libraries belong to what the process had before
    assert 0 < found["peak_memory_increase"] < 40e6 < found["peak_memory"]
    assert [step["step"] for step in found["memory_by_step"]] == [1, 2, 3, 4, 5]
    total = found["predicted_memory"]["total"]
    assert found["prediction_error"] == pytest.approx(total / found["peak_memory_increase"] - 1)
    assert found["tflops_megatron"] > 0
    assert found["device_name"] == processor_name()
    assert (found["launch"], found["started"][:2]) == (1, "20")


@pytest.mark.slow
def test_two_processes_of_an_encoder_decoder_are_measured_together(tmp_path):
    fsdp = cell()["parallel"] | {"name": "fsdp", "engine": "fsdp"}
    found = measured(tmp_path, family="bart", parallel=fsdp, processes=2, precision="bf16")
    assert found["outcome"] == "finished"
    assert found["samples_per_second"] == pytest.approx(4 / found["step_seconds"]["median"])
    assert [rank["rank"] for rank in found["ranks"]] == [0, 1]
    assert found["peak_memory"] == max(rank["peak_host_memory"] for rank in found["ranks"])
    assert found["breakdown_reason"] is None
    parts = found["breakdown"]
    assert min(parts["compute"], parts["communication"], parts["optimizer"]) > 0
    assert parts["offload"] == 0
    assert found["tflops_megatron"] is None


@pytest.mark.slow
def test_the_largest_batch_within_a_limit_is_found_with_what_was_tried(tmp_path):
    search = {"kind": "search", "batch": None, "search": {"smallest": 1, "largest": 4, "steps": 2}}
    found = measured(tmp_path, family="opt", shape=WIDE, sequence_length=256, memory_limit=host_limit(60), **search)
    assert found["outcome"] == "finished"
    fit = [each["batch"] for each in found["tried"] if each["outcome"] == "finished"]
    others = [each for each in found["tried"] if each["outcome"] != "finished"]
    assert 1 in fit
    assert {each["outcome"] for each in others} == {"out-of-memory"}
    # how many fit depends on what a processor's kernels take: the next larger one does not
    assert found["largest_batch"] == max(fit) == min(each["batch"] for each in others) - 1
    assert all("can't allocate memory" in each["reason"] for each in others)
    assert found["tokens_per_second"] is None


@pytest.mark.slow
def test_memory_that_runs_out_in_two_processes_is_a_row_with_the_reason(tmp_path):
    ddp = cell()["parallel"] | {"name": "ddp", "engine": "ddp"}
    limited = {"memory_limit": host_limit(60), "batch": 8, "sequence_length": 256}
    found = measured(tmp_path, family="opt", shape=WIDE, parallel=ddp, processes=2, **limited)
    assert (found["outcome"], found["memory_limit"]) == ("out-of-memory", host_limit(60))
    assert "can't allocate memory" in found["reason"]
    assert found["tokens_per_second"] is None
    assert found["predicted_memory"]["total"] > 60e6


def test_a_crash_that_only_a_limit_brings_is_out_of_memory(tmp_path, failing):
    assert psutil.virtual_memory().available > 2**30
    found = measured(tmp_path, name="needs-memory", memory_limit=host_limit(60))
    assert found["outcome"] == "out-of-memory"
    assert found["reason"] == (
        "failing exited with status -11; so twice under a limit of 0.06 GB, and with more memory it ends well"
    )


def test_a_crash_that_does_not_come_again_is_none(tmp_path, failing):
    found = measured(tmp_path, name="flake", memory_limit=host_limit(60))
    assert (found["outcome"], found["tokens_per_second"]) == ("finished", 1.0)


@pytest.mark.parametrize(
    ("name", "limit"), [("bug", host_limit(60)), ("bug", None), ("needs-memory", {"kind": "device", "bytes": 1})]
)
def test_a_crash_with_enough_memory_is_a_failure(tmp_path, failing, name, limit):
    with pytest.raises(LaunchError):
        measured(tmp_path, name=name, memory_limit=limit)


def test_a_killed_process_is_no_outcome_under_a_limit(tmp_path, failing):
    with pytest.raises(LaunchError) as raised:
        measured(tmp_path, name="killed", memory_limit=host_limit(60))
    assert raised.value.interruption
