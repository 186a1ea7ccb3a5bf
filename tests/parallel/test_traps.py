"""What transformers' Trainer, a peer in benchmarks/training.py, does to gradients."""

import importlib.util
from pathlib import Path

import pytest
import torch
from torch.utils.data import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.utils import logging

from trainyard.data.labels import IGNORE_INDEX


def module(path):
    specification = importlib.util.spec_from_file_location(path.stem, path)
    assert specification is not None
    assert specification.loader is not None
    found = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(found)
    return found


driver = module(Path(__file__).with_name("driver.py"))
benchmark = module(Path(__file__).parents[2] / "benchmarks" / "training.py")


class Rows(Dataset):
    def __init__(self, batches):
        self._rows = [
            {name: tensor[row] for name, tensor in batch.items()}
            for batch in batches
            for row in range(len(batch["labels"]))
        ]

    def __len__(self):
        return len(self._rows)

    def __getitem__(self, row):
        return self._rows[row]


class Gradient(TrainerCallback):
    def on_pre_optimizer_step(self, args, state, control, model=None, **_):
        self.norm = norm(model)


def norm(model):
    return float(torch.stack([parameter.grad.norm() for parameter in model.parameters()]).norm())


def arguments(folder, accumulation):
    return TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=2,
        gradient_accumulation_steps=accumulation,
        max_steps=1,
        max_grad_norm=0.0,
        use_cpu=True,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


def ratio(family, accumulation, folder):
    """The norm of the Trainer's gradient over ours, of the mean over the same tokens."""
    logging.set_verbosity_error()
    batches = [dict(driver.micro_batch(family, 0, 0)) for _ in range(accumulation)]
    ours = driver.objective(family)
    tokens = sum(int((batch["labels"] != IGNORE_INDEX).sum()) for batch in batches)
    for batch in batches:
        (ours(**batch) / tokens).backward()
    if family == "gpt2":  # its model shifts by itself
        for batch in batches:
            batch["labels"] = torch.cat([torch.full((2, 1), IGNORE_INDEX), batch["labels"][:, :-1]], dim=1)
    seen = Gradient()
    model = driver.objective(family).model
    Trainer(model=model, args=arguments(folder, accumulation), train_dataset=Rows(batches), callbacks=[seen]).train()
    return seen.norm / norm(ours.model)


@pytest.mark.slow
@pytest.mark.parametrize(("family", "accumulation"), [("gpt2", 1), ("bart", 1)])
def test_the_peers_gradient_is_ours_where_the_benchmark_takes_it(family, accumulation, tmp_path):
    benchmark.require_comparable(family, arguments(tmp_path, accumulation))
    assert ratio(family, accumulation, tmp_path) == pytest.approx(1, rel=1e-4)


@pytest.mark.slow
def test_the_peer_is_refused_where_it_multiplies_the_gradient(tmp_path):
    assert ratio("bart", 2, tmp_path) == pytest.approx(2, rel=1e-4)
    with pytest.raises(ValueError, match="multiplies the gradient of bart by 2"):
        benchmark.require_comparable("bart", arguments(tmp_path, 2))
