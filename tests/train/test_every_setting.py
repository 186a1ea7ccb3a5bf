"""What every parallel setting that this machine can run leaves behind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from trainings import ENTRIES, runs_here
from transformers import AutoModelForCausalLM

from trainyard.config.train import Train
from trainyard.data.loader import Loader


def loss_of(model: Any, specification: dict[str, Any]) -> float:
    """The mean cross-entropy on the held-out tokens that the run was validated on."""
    train = Train.model_validate(specification["train"])
    loader = Loader(Path(specification["data"]["validation"]), train, seed=1)
    total, tokens = 0.0, 0
    for _, batch in loader.validation_batches(1, train.validation_tokens, rank=0, world=1):
        with torch.no_grad():
            logits = model(input_ids=batch["input_ids"]).logits
        total += F.cross_entropy(logits.flatten(0, 1), batch["labels"].flatten(), reduction="sum").item()
        tokens += batch["labels"].numel()
    return total / tokens


# the size of DeepSpeed's buckets changes nothing of what is left behind
SETTINGS = [name for name, setting in ENTRIES.items() if runs_here(setting) and "-buckets-" not in name]


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_plain_transformers_loads_the_last_model_and_gives_the_runs_last_validation_loss(
    name: str, specification: Callable[..., dict[str, Any]], new_job: Callable[[str, dict[str, Any]], Any]
) -> None:
    asked = specification(parallel=name, steps=3, validate_every=3, checkpoint_every=3)
    job = new_job(name, asked)
    summary = job.run()
    assert summary["outcome"] == "finished", summary["reason"]
    model = AutoModelForCausalLM.from_pretrained(job.output / "models" / "last", local_files_only=True).eval()
    assert loss_of(model, asked) == pytest.approx(summary["validation_loss"], abs=1e-5)
