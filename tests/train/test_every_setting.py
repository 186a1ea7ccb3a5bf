"""What every parallel setting that this machine can run leaves behind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from trainings import ENTRIES, runs_here
from transformers import AutoModelForCausalLM

from trainyard.config.catalogue import Model
from trainyard.config.lora import Lora
from trainyard.config.train import Train
from trainyard.core.files import read_json
from trainyard.data.loader import Loader
from trainyard.estimate.lora import count_adapters
from trainyard.evaluate.model import Placement, load_causal
from trainyard.models.build import build
from trainyard.models.freeze import freeze


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


@pytest.mark.slow
def test_a_model_within_a_window_is_evaluated_to_the_runs_last_validation_loss(
    specification: Callable[..., dict[str, Any]], new_job: Callable[[str, dict[str, Any]], Any]
) -> None:
    asked = specification(steps=3, validate_every=3, checkpoint_every=3, attention={"window": 8})
    job = new_job("window", asked)
    summary = job.run()
    assert summary["outcome"] == "finished", summary["reason"]
    model, _ = load_causal(job.output / "models" / "last", Placement.model_validate({}))
    assert loss_of(model, asked) == pytest.approx(summary["validation_loss"], abs=1e-5)
    plain = AutoModelForCausalLM.from_pretrained(job.output / "models" / "last", local_files_only=True).eval()
    assert loss_of(plain, asked) != pytest.approx(summary["validation_loss"], abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["zero2", "low-level-zero"])
def test_what_is_frozen_is_exported_as_it_was_though_the_engine_holds_it_in_16_bits(
    name: str, specification: Callable[..., dict[str, Any]], new_job: Callable[[str, dict[str, Any]], Any]
) -> None:
    frozen = ["embeddings", "blocks.0"]
    asked = specification(parallel=name, steps=3, validate_every=3, checkpoint_every=3, freeze=frozen)
    asked["precision"] = "bf16"
    job = new_job(name, asked)
    assert job.run()["outcome"] == "finished"
    before = build(Model.from_spec(asked["model"]), "tiny", seed=asked["seed"])
    freeze(before, frozen)
    after = load_file(job.output / "models" / "last" / "model.safetensors")
    weights = {each: weight for each, weight in before.named_parameters() if each in after}
    same = {each for each, weight in weights.items() if torch.equal(after[each], weight)}
    assert {each for each, weight in weights.items() if not weight.requires_grad} == same
    summary = read_json(job.output / "summary.json")
    assert summary["trained_parameters"] == sum(each.numel() for each in before.parameters() if each.requires_grad)
    assert summary["flops_per_token"] is None


@pytest.mark.slow
@pytest.mark.parametrize(("name", "precision"), [("single", "fp32"), ("zero2", "bf16")])
def test_adapters_are_merged_into_weights_that_are_exported_as_they_were_and_kept_beside_them(
    name: str,
    precision: str,
    specification: Callable[..., dict[str, Any]],
    new_job: Callable[[str, dict[str, Any]], Any],
) -> None:
    lora = Lora.model_validate({"rank": 2, "alpha": 64.0})
    asked = specification(parallel=name, steps=3, validate_every=3, checkpoint_every=3, lora=lora.model_dump())
    asked["precision"] = precision
    job = new_job(name, asked)
    summary = job.run()
    assert summary["outcome"] == "finished", summary["reason"]
    folder = job.output / "models" / "last"
    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).eval()
    assert loss_of(model, asked) == pytest.approx(summary["validation_loss"], abs=1e-5 if precision == "fp32" else 1e-2)
    before, after = build(Model.from_spec(asked["model"]), "tiny", seed=asked["seed"]).state_dict(), model.state_dict()
    changed = {each for each, weight in before.items() if not torch.equal(after[each], weight)}
    assert changed == {each for each in before if each.endswith("c_attn.weight")}
    beside = load_file(folder / "adapter" / "adapter_model.safetensors")
    count = sum(weight.numel() for weight in beside.values())
    assert count == summary["trained_parameters"] == count_adapters(Model.from_spec(asked["model"]), lora)
    assert summary["flops_per_token"] is None
