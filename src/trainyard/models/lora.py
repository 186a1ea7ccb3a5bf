"""Adapters of low rank beside a model's own weights, by peft, which is imported only where a run asks for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.pytorch_utils import Conv1D

from trainyard.config.lora import Lora
from trainyard.models.export import Adapter

_NAME = "default"  # peft's own name of the only adapter
_FIRST, _SECOND = f".lora_A.{_NAME}.weight", f".lora_B.{_NAME}.weight"
_BASE = ".base_layer."
# seeds of models are below it: the adapters' numbers are not those that the first weights were drawn from
_SEEDS = 2**32


@dataclass(frozen=True)
class Adapters:
    """The adapters of a model; what they are to its weights.

    Attributes:
        config: the content of peft's adapter_config.json.
    """

    config: dict[str, Any]

    def merge(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights of a plain model that computes the same, under its own names.

        Args:
            state: of the adapted model, in fp32.
        """
        scale = self.config["lora_alpha"] / self.config["r"]
        merged = {}
        for name, tensor in state.items():
            if name.endswith((_FIRST, _SECOND)):
                continue
            module = name.removesuffix(f"{_BASE}weight")
            if module != name:
                change = state[module + _SECOND] @ state[module + _FIRST]
                tensor = tensor + (change.T if self.config["fan_in_fan_out"] else change) * scale  # noqa: PLW2901
            merged[name.replace(_BASE, ".")] = tensor
        return merged

    def export(self, state: Mapping[str, Tensor]) -> Adapter:
        """The adapters alone, as peft keeps them; `state` is that of the adapted model."""
        ours = {name: tensor for name, tensor in state.items() if name.endswith((_FIRST, _SECOND))}
        return Adapter(
            self.config, {f"base_model.model.{name.replace(f'.{_NAME}.', '.')}": ours[name] for name in ours}
        )


def adapt(model: Any, lora: Lora, targets: Sequence[str], seed: int, base: str | None = None) -> Adapters:
    """Freeze a model and add adapters to its linear layers, in place; it computes what it did, since they begin at 0.

    Args:
        model: a model of transformers, or one with the same names.
        lora: rank, alpha and dropout.
        targets: the last names of the layers.
        seed: fixes the adapters' first factors; the global generator is left as it was.
        base: where its weights are from, for who loads the adapters elsewhere.
    """
    from peft import LoraConfig, inject_adapter_in_model  # noqa: PLC0415

    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # pyright: ignore[reportArgumentType]
        lora_dropout=lora.dropout,
        target_modules=list(targets),
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),
        base_model_name_or_path=base,
        task_type="SEQ_2_SEQ_LM" if model.config.is_encoder_decoder else "CAUSAL_LM",
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(_SEEDS + seed)
        inject_adapter_in_model(config, model, _NAME)
    return Adapters(config.to_dict() | {"target_modules": sorted(targets), "inference_mode": True})
