"""Adapters of low rank: where peft puts them, what they begin as, and what is exported of them."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as PEFTS_OWN
from safetensors.torch import load_file
from torch import Tensor

from trainyard.config.lora import Lora
from trainyard.estimate.lora import count_adapters, linear_names, target_names
from trainyard.models.build import build, configuration, exported_class
from trainyard.models.export import ADAPTER, export
from trainyard.models.lora import Adapters, adapt
from trainyard.models.loss import Objective

from .conftest import MODELS, batch, logits


def adapted(name: str, seed: int = 1, **lora: Any) -> tuple[Any, Adapters]:
    model, asked = build(MODELS[name], name, seed=1), Lora.model_validate(lora)
    return model, adapt(model, asked, target_names(MODELS[name], asked), seed)


def learned(model: Any) -> Any:
    """With numbers in all adapters, as after a training."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.1, generator=generator)
    return model.eval()


def factors(model: Any) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in model.state_dict().items() if ".lora_A." in name}


@pytest.mark.parametrize("targets", [None, "all-linear"])
def test_what_is_trained_is_what_the_arithmetic_counts(tiny: str, targets: str | None) -> None:
    model, _ = adapted(tiny, targets=targets, rank=3)
    trained = {name: each.numel() for name, each in model.named_parameters() if each.requires_grad}
    assert all(".lora_" in name for name in trained)
    assert (
        sum(trained.values()) == count_adapters(MODELS[tiny], Lora.model_validate({"rank": 3, "targets": targets})) > 0
    )


def test_the_usual_targets_are_pefts_own(tiny: str) -> None:
    kind = configuration(MODELS[tiny]).model_type
    assert target_names(MODELS[tiny], Lora.model_validate({})) == PEFTS_OWN[kind]


def test_all_linear_layers_are_those_of_the_blocks_and_of_nothing_else(tiny: str) -> None:
    plain = build(MODELS[tiny], tiny, seed=1)
    wide = {name for name, each in plain.named_modules() if type(each).__name__ in ("Linear", "Conv1D")}
    in_blocks = {name.rpartition(".")[2] for name in wide if any(part.isdigit() for part in name.split("."))}
    assert set(linear_names(MODELS[tiny])) == in_blocks


def test_a_model_computes_what_it_did_before_its_adapters_learn(tiny: str) -> None:
    made, plain, (model, _) = batch(MODELS[tiny]), build(MODELS[tiny], tiny, seed=1), adapted(tiny)
    with torch.no_grad():
        expected, found = (Objective(each.eval())(**made) for each in (plain, model))
    assert torch.equal(expected, found)


def test_first_factors_depend_on_the_seed_alone() -> None:
    torch.manual_seed(7)
    one, _ = adapted("bart-tiny")
    state = torch.random.get_rng_state()
    torch.manual_seed(8)
    same, other = adapted("bart-tiny")[0], adapted("bart-tiny", seed=2)[0]
    torch.manual_seed(7)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(tensor, factors(same)[name]) for name, tensor in factors(one).items())
    assert not any(torch.equal(tensor, factors(other)[name]) for name, tensor in factors(one).items())


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft asks for it
@pytest.mark.parametrize("targets", [None, "all-linear"])
def test_the_export_is_plain_and_the_adapters_beside_it_give_the_same(
    tiny: str, tmp_path: Path, targets: str | None
) -> None:
    entry, made = MODELS[tiny], batch(MODELS[tiny])
    (model, adapters), kind = adapted(tiny, targets=targets, rank=4, alpha=6.0, dropout=0.1), exported_class(entry)
    start = build(entry, tiny, seed=1)
    export(entry, start.state_dict(), tmp_path / "start")
    state = {name: tensor.clone() for name, tensor in learned(model).state_dict().items()}
    export(entry, adapters.merge(state), tmp_path / "model", adapter=adapters.export(state))
    merged = kind.from_pretrained(tmp_path / "model", local_files_only=True).eval()
    beside = PeftModel.from_pretrained(
        kind.from_pretrained(tmp_path / "start", local_files_only=True), tmp_path / "model" / ADAPTER
    ).eval()
    assert not [name for name in merged.state_dict() if "lora" in name]
    with torch.no_grad():
        expected = Objective(model)(**made)
        with_adapters, plain = logits(beside, made), logits(merged, made)
        before = logits(kind.from_pretrained(tmp_path / "start", local_files_only=True).eval(), made)
        ours = Objective(merged)(**made)
    assert torch.allclose(with_adapters, plain, atol=1e-5)
    assert not torch.allclose(plain, before, atol=1e-3)
    assert float(ours) == pytest.approx(float(expected), rel=1e-5)
    theirs: dict[str, Tensor] = beside.merge_and_unload().state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in merged.state_dict().items())


def test_adapters_alone_are_small_and_hold_no_code(tmp_path: Path) -> None:
    model, adapters = adapted("gpt2-tiny", rank=2)
    state = model.state_dict()
    export(MODELS["gpt2-tiny"], adapters.merge(state), tmp_path / "model", adapter=adapters.export(state))
    files = {file.name for file in (tmp_path / "model" / ADAPTER).iterdir()}
    assert files == {"adapter_config.json", "adapter_model.safetensors"}
    weights = load_file(tmp_path / "model" / ADAPTER / "adapter_model.safetensors")
    assert sum(each.numel() for each in weights.values()) == count_adapters(
        MODELS["gpt2-tiny"], Lora.model_validate({"rank": 2})
    )


def test_peft_is_imported_only_where_it_is_asked_for() -> None:
    code = "import sys, trainyard.train.worker, trainyard.measure.worker; assert 'peft' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, env=os.environ | {"PYTHONPATH": "src"})
