"""What every parallel setting that this machine can run leaves behind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM

from trainyard.config.catalogue import ParallelSetting
from trainyard.config.load import parse_entries
from trainyard.config.machine import Machine, unsupported
from trainyard.config.train import Train
from trainyard.data.loader import Loader

ENTRIES = parse_entries(ParallelSetting, Path(__file__).parents[2] / "config" / "parallel.yaml")


def processes(setting: ParallelSetting) -> int:
    return 1 if setting.one_process else max(2, setting.tensor * setting.pipeline)


def runs_here(setting: ParallelSetting) -> bool:
    capabilities = Machine("cpu").capabilities(setting, compiled=False)
    return unsupported(setting, "gpt2", "fp32", processes(setting), capabilities) is None


def loss_of(model: Any, specification: dict[str, Any]) -> float:
    """The mean cross-entropy on the held-out tokens that the run was validated on."""
    train = Train.model_validate(specification["train"])
    loader = Loader(Path(specification["data"]["validation"]), train, seed=1)
    total, tokens = 0.0, 0
    for batch in loader.validation_batches(1, train.validation_tokens, rank=0, world=1):
        with torch.no_grad():
            logits = model(input_ids=batch["input_ids"]).logits
        total += F.cross_entropy(logits.flatten(0, 1), batch["labels"].flatten(), reduction="sum").item()
        tokens += batch["labels"].numel()
    return total / tokens


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, setting in ENTRIES.items() if runs_here(setting)])
def test_plain_transformers_loads_the_last_model_and_gives_the_runs_last_validation_loss(
    name: str, specification: Callable[..., dict[str, Any]], new_job: Callable[[str, dict[str, Any]], Any]
) -> None:
    setting = ENTRIES[name]
    asked = specification(steps=3, validate_every=3, checkpoint_every=3)
    asked |= {"parallel": {"name": name, **setting.for_job()}, "processes": processes(setting)}
    job = new_job(name, asked)
    summary = job.run()
    assert summary["outcome"] == "finished", summary["reason"]
    model = AutoModelForCausalLM.from_pretrained(job.output / "models" / "last", local_files_only=True).eval()
    assert loss_of(model, asked) == pytest.approx(summary["validation_loss"], abs=1e-5)
