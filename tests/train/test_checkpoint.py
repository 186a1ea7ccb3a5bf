"""Checkpoints: which is taken, and what is put back."""

import shutil

import pytest
import torch

from engine_settings import engine_settings
from trainyard.core.files import atomic_folder
from trainyard.data.loader import Loader
from trainyard.models.build import build
from trainyard.models.loss import Objective
from trainyard.parallel import process_group
from trainyard.parallel.engine import load_engine
from trainyard.train import checkpoint
from trainyard.train.checkpoint import load_checkpoint, newest_step, restore_best, save_checkpoint, seed_rank
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
    for now in (2, 4, 6):
        if now == 4:
            mark(best, 3)
        if now == 6:
            mark(best, 6)
        save_checkpoint(tmp_path / "checkpoints", now, engine, best)
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
    for step in (2, 4, 6):
        train(engine, loader, [step - 1, step])
        save_checkpoint(tmp_path, step, engine)
    return tmp_path


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
