"""Checkpoints: which is taken, and what is put back."""

import gc
import shutil
import threading
import time
from pathlib import Path

import pytest
import torch

from engine_settings import engine_settings
from trainyard.core.errors import InputError
from trainyard.core.files import atomic_folder
from trainyard.data.loader import Loader
from trainyard.models.build import build
from trainyard.models.loss import Objective
from trainyard.parallel import process_group
from trainyard.parallel.engine import load_engine, load_optimizer, read_state
from trainyard.train import checkpoint
from trainyard.train.checkpoint import (
    CheckpointWriter,
    copy_to_host,
    host_bytes,
    load_checkpoint,
    newest_step,
    restore_best,
    seed_rank,
)
from trainyard.train.spec import Specification


@pytest.fixture
def make_engine(specification):
    """Makes an engine of one process, with dropout, and the loader of its batches."""
    parsed = Specification.parse(specification())
    engine_class = load_engine("single")
    engine_class.start("cpu")

    def make(seed):
        objective = Objective(build(parsed.model, "tiny", seed=seed))
        engine = engine_class(objective, engine_settings(micro_batch=1, accumulation=4))
        return engine, Loader(parsed.data.train, parsed.train, seed=1)

    yield make
    process_group.stop()


def mark(best, step):
    """A best model that says of which step it is, written as models are."""
    with atomic_folder(best) as draft:
        (draft / "step").write_text(str(step))


@pytest.mark.parametrize(("step", "left"), [(0, None), (2, None), (4, "3"), (6, "6")])
def test_a_checkpoint_brings_back_the_best_model_of_its_step(make_engine, tmp_path, step, left, monkeypatch):
    monkeypatch.setattr(checkpoint, "KEPT", 3)
    engine, _ = make_engine(1)
    best = tmp_path / "models" / "best"
    writer = CheckpointWriter(tmp_path / "checkpoints", engine, best)
    for now in (2, 4, 6):
        writer.release_best()
        if now == 4:
            mark(best, 3)
        if now == 6:
            mark(best, 6)
        writer.save(now)
    writer.close()
    mark(best, 7)
    restore_best(tmp_path / "checkpoints", step, best)
    assert ((best / "step").read_text() if best.exists() else None) == left
    assert newest_step(tmp_path / "checkpoints", 6) == 6


def train(engine, loader, steps):
    return [engine.train_step(loader.micro_batches(step, 0, 1), 1e-3).loss for step in steps]


@pytest.fixture
def saved(make_engine, tmp_path):
    """Checkpoints of steps 2, 4 and 6."""
    engine, loader = make_engine(1)
    seed_rank(1, 0)
    writer = CheckpointWriter(tmp_path, engine)
    for step in (2, 4, 6):
        train(engine, loader, [step - 1, step])
        writer.save(step)
    writer.close()
    return tmp_path


@pytest.fixture
def held(make_engine, tmp_path):
    """An engine after two steps, its loader, and a writer whose thread begins when it is told to."""
    engine, loader = make_engine(1)
    seed_rank(1, 0)
    train(engine, loader, [1, 2])
    writer, begin = CheckpointWriter(tmp_path, engine), threading.Event()
    writer._thread.submit(begin.wait)
    yield engine, loader, writer, begin
    begin.set()


def test_training_goes_on_while_a_checkpoint_is_written_and_it_holds_the_step_it_was_begun_after(
    held, make_engine, tmp_path
):
    engine, loader, writer, begin = held
    writer.save(2)
    later = train(engine, loader, range(3, 7))
    writer.advance()
    assert not list(tmp_path.iterdir())
    begin.set()
    writer.close()
    assert [folder.name for folder in tmp_path.iterdir()] == ["step-000002"]
    again, loader = make_engine(2)
    load_checkpoint(tmp_path, 2, again)
    assert train(again, loader, range(3, 7)) == later
    assert all(torch.equal(tensor, again.full_state()[name]) for name, tensor in engine.full_state().items())


def test_a_checkpoint_appears_at_a_step_after_it_was_written_without_a_wait(held, tmp_path):
    *_, writer, begin = held
    writer.save(2)
    begin.set()
    for _ in range(1000):
        writer.advance()
        if (tmp_path / "step-000002").exists():
            break
        time.sleep(0.01)
    assert newest_step(tmp_path, 2) == 2


def test_one_checkpoint_is_written_at_a_time(held, tmp_path):
    *_, writer, begin = held
    writer.save(2)
    threading.Timer(0.2, begin.set).start()
    writer.save(3)
    assert begin.is_set()
    writer.close()
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["step-000002", "step-000003"]


def take_steps(writer):
    for _ in range(1000):
        writer.advance()
        time.sleep(0.01)


@pytest.mark.parametrize("later", [take_steps, CheckpointWriter.close, CheckpointWriter.check])
def test_a_full_disk_is_named_at_a_step_after_and_at_the_end(held, tmp_path, later):
    *_, writer, begin = held
    writer.save(2)
    (tmp_path / ".step-000002" / "engine").mkdir(parents=True)
    (tmp_path / ".step-000002" / "engine" / "rank-00000.pt").symlink_to("/dev/full")
    begin.set()
    with pytest.raises(InputError, match=r"/step-000002: can't be written: the disk is full; make room and run again"):
        later(writer)
    assert newest_step(tmp_path, 2) == 0


def test_a_better_model_waits_until_the_one_before_is_copied(held, tmp_path):
    engine, _, _, begin = held
    best = tmp_path / "models" / "best"
    mark(best, 2)
    writer = CheckpointWriter(tmp_path / "checkpoints", engine, best)
    writer._thread.submit(begin.wait)
    writer.save(2)
    threading.Timer(0.2, begin.set).start()
    writer.release_best()
    mark(best, 3)
    writer.close()
    assert (tmp_path / "checkpoints" / "step-000002" / "best" / "step").read_text() == "2"


def test_without_room_for_a_copy_training_waits_and_says_so_once(held, tmp_path, monkeypatch, capsys):
    engine, loader, writer, begin = held
    monkeypatch.setattr(checkpoint, "free_host_memory", lambda: 1000)
    writer.save(2)
    assert (tmp_path / ".step-000002" / "engine" / "rank-00000.pt").stat().st_size > 10_000
    said = "rank 0: training waits for checkpoints: the copies of this machine's processes would take"
    assert said in capsys.readouterr().out
    begin.set()
    train(engine, loader, [3])
    writer.save(3, wait=True)
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["step-000002", "step-000003"]
    assert capsys.readouterr().out == ""


def test_room_is_asked_for_what_this_machine_copies_and_not_for_what_one_rank_saves_for_all(
    held, tmp_path, monkeypatch
):
    engine, _, writer, _ = held
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")  # as under ddp, where the others save nothing
    monkeypatch.setenv("GROUP_WORLD_SIZE", "2")  # machines
    monkeypatch.setenv("GROUP_RANK", "1")
    monkeypatch.setattr(checkpoint, "free_host_memory", lambda: 2 * host_bytes(engine.files()))
    writer.save(2)
    assert not list(tmp_path.iterdir())  # the thread is still held


def test_what_waits_for_no_file_waits_for_no_best_model_either(held, tmp_path, monkeypatch):
    engine, _, _, begin = held
    best = tmp_path / "models" / "best"
    mark(best, 2)
    writer = CheckpointWriter(tmp_path / "checkpoints", engine, best)
    writer._thread.submit(begin.wait)
    monkeypatch.setattr(checkpoint, "free_host_memory", lambda: 1000)
    writer.save(2)
    release = threading.Timer(10, begin.set)  # or a fault would hang
    release.start()
    writer.advance()
    assert not begin.is_set()
    release.cancel()
    begin.set()
    writer.close()
    assert (tmp_path / "checkpoints" / "step-000002" / "best" / "step").read_text() == "2"


def test_a_copy_shares_memory_where_the_state_does_and_none_with_it():
    table = torch.arange(12.0).reshape(3, 4)
    state = {"a": table, "b": [table.T, {"c": table[1:]}], "step": 7, "betas": (0.9, 0.95)}
    copy = copy_to_host(state)
    assert host_bytes(copy) == host_bytes(state) == 12 * 4
    table.zero_()
    whole = torch.arange(12.0).reshape(3, 4)
    assert torch.equal(copy["a"], whole)
    assert torch.equal(copy["b"][0], whole.T)
    assert torch.equal(copy["b"][1]["c"], whole[1:])
    assert (copy["step"], copy["betas"]) == (7, (0.9, 0.95))


def test_training_goes_on_bitwise_with_its_dropout(make_engine, saved):
    engines = []
    for seed, step in ((2, 4), (3, 6)):
        engine, loader = make_engine(seed)
        seed_rank(seed, 0)
        load_checkpoint(saved, step, engine)
        engines.append((engine, train(engine, loader, range(step + 1, 11))))
    (first, losses), (second, later) = engines
    assert losses[2:] == later
    one, other = first.full_state(), second.full_state()
    assert one is not None
    assert other is not None
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def mapped(path):
    return str(path) in Path("/proc/self/maps").read_text()


def test_a_checkpoint_is_read_through_a_mapping_of_which_nothing_is_kept(make_engine, saved):
    engine, _ = make_engine(2)
    file = saved / "step-000006" / "engine" / "rank-00000.pt"
    state = read_state(file)
    assert mapped(file)
    del state
    load_checkpoint(saved, 6, engine)
    gc.collect()
    assert not mapped(file)


def test_the_state_of_an_optimizer_comes_to_lie_where_its_parameter_does():
    weight = torch.nn.Parameter(torch.empty(4, 3, device="meta"))
    optimizer = torch.optim.AdamW([weight])
    state = {name: torch.ones(4, 3) for name in ("exp_avg", "exp_avg_sq")} | {"step": torch.tensor(5.0)}
    load_optimizer(optimizer, optimizer.state_dict() | {"state": {0: state}})
    found = {name: tensor.device.type for name, tensor in optimizer.state[weight].items()}
    assert found == {"exp_avg": "meta", "exp_avg_sq": "meta", "step": "cpu"}


def test_two_checkpoints_are_kept(saved):
    assert sorted(folder.name for folder in saved.iterdir()) == ["step-000004", "step-000006"]


def test_the_newest_is_taken(saved):
    assert newest_step(saved, 100) == 6


def test_one_whose_rows_are_lost_is_not(saved, capsys):
    assert newest_step(saved, 5) == 4
    assert "step-000006: damaged (metrics.jsonl ends at step 5)" in capsys.readouterr().err
    assert not (saved / "step-000006").exists()


def _cut(folder):
    file = next(folder.glob("engine/*"))
    file.write_bytes(file.read_bytes()[:-1])


def _flip(folder):
    file = next(folder.glob("engine/*"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_cut, "has been changed"),
        (_flip, "has been changed"),
        (lambda folder: (folder / "random-0.json").unlink(), "random-0.json is missing"),
        (lambda folder: (folder / "hashes.json").unlink(), "no such file"),
        (lambda folder: (folder / "hashes.json").write_text("{"), "not valid JSON"),
        (lambda folder: (folder / "hashes.json").write_text("{}"), "not listed"),
        (lambda folder: shutil.rmtree(folder / "engine"), "is missing"),
    ],
)
def test_a_damaged_one_is_named_and_the_one_before_is_taken(saved, capsys, damage, said):
    damage(saved / "step-000006")
    assert newest_step(saved, 6) == 4
    errors = capsys.readouterr().err
    assert "step-000006: damaged (" in errors
    assert said in errors


def test_with_all_damaged_it_starts_from_the_beginning(saved):
    for folder in saved.iterdir():
        _cut(folder)
    assert newest_step(saved, 6) == 0
    assert not list(saved.iterdir())


def test_a_draft_that_a_killed_trainer_left_is_removed(saved):
    (saved / ".step-000008" / "engine").mkdir(parents=True)
    assert newest_step(saved, 6) == 6
    assert not (saved / ".step-000008").exists()
