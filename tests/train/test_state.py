"""A training that begins from the state that another one left."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from kills import kill_at, kill_with_checkpoints
from trainings import ENTRIES, FIRST_BYTE, SHAPE, TRAIN, Job, make_specification

from trainyard.config.catalogue import Model
from trainyard.config.train import Train
from trainyard.core.errors import InputError
from trainyard.core.files import read_json
from trainyard.models.build import build
from trainyard.models.loss import Objective
from trainyard.parallel.engine import EngineSettings
from trainyard.parallel.pytorch.single import Engine
from trainyard.train.row_losses import load_row_losses
from trainyard.train.work_folder import WorkFolder

NewJob = Callable[[str, dict[str, Any]], Job]
CHANGES = [{"weight_decay": 0.9}, {"betas": (0.5, 0.6)}, {"epsilon": 1e-2}, {"max_grad_norm": 0.01}]

TELL_OF_TIMES = {"README.md", "hashes.json", "energy.json"}  # and of machines and commits
# with parts of the optimizer's state in each process, in DeepSpeed's and in ColossalAI's own formats
OTHERS = ["zero2", "ddp", "zero1", "fsdp", "zero3", "low-level-zero"]
# one in the suite of every day
MARKED = [pytest.param(name, marks=pytest.mark.slow if name == OTHERS[0] else pytest.mark.long) for name in OTHERS]
NEW_SETTINGS = {"weight_decay": 50.0, "betas": [0.5, 0.6], "epsilon": 1e-4, "max_grad_norm": 0.1}


def member(specification: dict[str, Any], until: int, after: Job | None = None, **train: Any) -> dict[str, Any]:
    """A training of the same schedule that ends after `until`, from where `after` ended."""
    start = {"start": str(after.output / "state")} if after else {}
    return specification | {
        "kind": "member",
        "until": until,
        "data": specification["data"] | start,
        "train": specification["train"] | train,
    }


def make_engine(**train: Any) -> Engine:
    """One process's, of the smallest GPT-2 without dropout."""
    shape = {**SHAPE, "dropout": 0.0}
    entry = Model.model_validate({"title": "Tiny", "family": "gpt2", "tokenizer": "bytes", "shape": shape})
    settings = EngineSettings(
        precision="fp32",
        train=Train(**TRAIN | {"batch": 2, "weight_decay": 0.1} | train),
        parallel=ENTRIES["single"],
        micro_batch=2,
        accumulation=1,
        family="gpt2",
        device="cpu",
    )
    return Engine(Objective(build(entry, "tiny", dropout=None, seed=1, weights=None)), settings)


def last_checkpoint(job: Job) -> Path:
    (folder,) = (job.output / "state" / "checkpoints").iterdir()
    return folder


def states_of(job: Job) -> dict[str, str]:
    """The hashes of what a training left: its last checkpoint, with the best model, the validations, the models."""
    files = read_json(job.output / "state" / "index.json")["files"]
    found = {name: value for name, value in files.items() if "/" in name and Path(name).name not in TELL_OF_TIMES}
    assert {name.split("/")[0] for name in found} == {"checkpoints", "validations", "models"}
    return found


@pytest.fixture(scope="module")
def first(text_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A training that has left its state after 4 of 40 steps."""
    specification = make_specification(text_data, steps=40, validate_every=4, checkpoint_every=4)
    job = Job(tmp_path_factory.mktemp("first"), member(specification, 4))
    job.run()
    return job


@pytest.mark.parametrize("parallel", ["single", *MARKED])
def test_with_unchanged_settings_it_equals_an_uninterrupted_training_to_the_last_bit(
    parallel: str, text_data: Path, new_job: NewJob
) -> None:
    specification = make_specification(text_data, parallel=parallel, validate_every=4, checkpoint_every=4)
    whole = new_job("whole", member(specification, 12))
    assert whole.run()["outcome"] == "finished"
    jobs: list[Job] = []
    for until in (4, 8, 12):
        jobs.append(new_job(f"until-{until}", member(specification, until, jobs[-1] if jobs else None)))
        assert jobs[-1].run()["steps"] == until
    parts = jobs[-1]
    assert parts.curve() == whole.curve()
    assert parts.curve()[7][3] != parts.curve()[3][3]  # the schedule goes on through the parts
    assert states_of(parts) == states_of(whole)
    assert load_row_losses(parts.output / "state" / "validations", 4) is not None


@pytest.mark.parametrize("changed", CHANGES, ids=lambda changed: next(iter(changed)))
def test_its_own_settings_win_over_those_in_the_checkpoint(changed: dict[str, Any], tmp_path: Path) -> None:
    tokens = torch.arange(FIRST_BYTE, FIRST_BYTE + 33)
    batch = {"input_ids": tokens[:-1].view(2, 16), "labels": tokens[1:].view(2, 16)}
    saved = make_engine()
    saved.train_step([batch], 1e-3)
    saved.save(tmp_path)
    engine, reference, unchanged = make_engine(**changed), make_engine(**changed), make_engine()
    state = torch.load(tmp_path / "rank-00000.pt", weights_only=True)
    reference.model.load_state_dict(state["model"])
    own_groups = reference.optimizer.state_dict()["param_groups"]
    reference.optimizer.load_state_dict({"state": state["optimizer"]["state"], "param_groups": own_groups})
    for each in (engine, unchanged):
        each.load(tmp_path)
    after = []
    for each in (engine, reference, unchanged):
        each.train_step([batch], 1e-3)
        after.append(torch.cat([parameter.detach().flatten() for parameter in each.model.parameters()]))
    assert torch.equal(after[0], after[1])
    assert not torch.equal(after[0], after[2])


def losses_under_new_settings(parallel: str, data: Path, folder: Path) -> list[float]:
    """Of a training of 12 steps without dropout, whose settings change after 4."""
    specification = make_specification(data, parallel=parallel, dropout=0.0, weight_decay=0.0)
    before = Job(folder / "before", member(specification, 4))
    before.run()
    after = Job(folder / "after", member(specification, 12, before, **NEW_SETTINGS))
    after.run()
    return [row[2] for row in after.curve()]


@pytest.fixture(scope="module")
def losses_of_one_process(text_data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    return losses_under_new_settings("single", text_data, tmp_path_factory.mktemp("one"))


@pytest.mark.parametrize("parallel", MARKED)
def test_under_other_engines_they_win_as_in_one_process(
    parallel: str, text_data: Path, losses_of_one_process: list[float], tmp_path: Path
) -> None:
    losses = losses_under_new_settings(parallel, text_data, tmp_path)
    assert losses == pytest.approx(losses_of_one_process, abs=2e-5)


def test_killed_it_resumes_from_its_own_newest_checkpoint(first: Job, new_job: NewJob) -> None:
    second = new_job("second", member(first.specification, 40, first))
    kill_with_checkpoints(second, "rank", count=1)
    step = WorkFolder(second.folder).saved_step()
    assert step > 4
    second.run()
    assert f"resuming after step {step}" in second.log.read_text()
    whole = new_job("whole", member(first.specification, 40))
    whole.run()
    assert second.curve() == whole.curve()


@pytest.mark.slow
def test_without_any_checkpoint_it_begins_from_the_state_anew(first: Job, new_job: NewJob) -> None:
    second = new_job("second", member(first.specification, 8, first))
    kill_at(second, "rank", "start", rows=0)
    for file in second.folder.glob("checkpoints/*/random-0.json"):
        file.write_text("{}")
    with pytest.raises(InputError, match=r"none of its checkpoints can be read any more; run again, and it begins"):
        second.run()
    assert second.run()["outcome"] == "finished"


def test_another_state_is_another_working_folder(first: Job, new_job: NewJob) -> None:
    other = new_job("other", member(first.specification, 4, learning_rate=1e-3))
    other.run()
    both = [new_job("both", member(first.specification, 6, job)) for job in (first, other)]
    for job in both:
        job.run()
    assert len(list(both[0].root.glob("work/study/run/*"))) == 2


def test_a_damaged_state_is_refused(first: Job, new_job: NewJob, tmp_path: Path) -> None:
    damaged = Job(tmp_path / "damaged", first.specification)
    shutil.copytree(first.output, damaged.output)
    (last_checkpoint(damaged) / "random-0.json").write_text("{}")
    with pytest.raises(InputError, match=r"random-0\.json: not what index\.json says; delete .*state and run again"):
        new_job("second", member(first.specification, 8, damaged)).run()


def test_what_did_not_finish_leaves_no_state_but_says_so(
    specification: Callable[..., dict[str, Any]], new_job: NewJob
) -> None:
    diverged = new_job("diverged", member(specification(learning_rate=1e30, warmup_steps=0, max_grad_norm=None), 4))
    assert diverged.run()["outcome"] == "diverged"
    assert read_json(diverged.output / "state" / "index.json") == {"step": None, "files": {}}
    unsupported = new_job("unsupported", member(specification(), 4))
    assert unsupported.run(unsupported="no such machine")["outcome"] == "unsupported"
    assert read_json(unsupported.output / "state" / "index.json") == {"step": None, "files": {}}
