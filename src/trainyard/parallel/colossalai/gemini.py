"""ColossalAI's Gemini plugin: weights, gradients and AdamW's state in chunks that move between GPU and host."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from trainyard.optim import optimizers
from trainyard.parallel import process_group
from trainyard.parallel.colossalai.compat import GeminiPlugin, gemini_optimizer, get_temp_total_chunk_on_cuda
from trainyard.parallel.colossalai.plugin import Boosted, LossScale, PlainObjective, group_names, loss_scale_arguments
from trainyard.parallel.engine import EngineSettings, copy_to_fp32

_CHUNKS = 8
_MILLION = 2**20


@dataclass(frozen=True)
class Placement:
    """Where Gemini keeps what.

    Attributes:
        policy: `static` by the fractions below; `auto` by what its first iteration measures of the memory that
            is left, the phase "warm-up".
        offload_optimizer_fraction: of AdamW's state and the masters, on the host; static alone.
        offload_parameters_fraction: of the weights, on the host; static alone, and only if all of the optimizer is.
    """

    policy: str = "static"
    offload_optimizer_fraction: float = 0.0
    offload_parameters_fraction: float = 0.0


class Gemini(Boosted):
    """ZeRO's level 3 in chunks, in bf16 or fp16 with masters in fp32, on GPUs only."""

    def __init__(self, objective: nn.Module, settings: EngineSettings, placement: Placement) -> None:
        model: Any = objective.get_submodule("model")
        self.names = group_names(model)
        before = {id(parameter): parameter.detach().to("cpu", copy=True) for parameter in model.parameters()}
        self.others = {  # in no chunk: buffers, and what is frozen
            name: tensor for name, tensor in model.state_dict(keep_vars=True).items() if not tensor.requires_grad
        }
        plugin = GeminiPlugin(**plugin_arguments(settings, placement, model))
        plain = PlainObjective(model, settings.train.label_smoothing)
        super().__init__(plain, settings, plugin, _build_adamw(plain, settings))
        self.manager = self.boosted.gemini_manager
        self.loss_scale = LossScale(self.optimizer.mix_precision_mixin)
        self._start_from(before)

    @override
    def step(self, learning_rate: float) -> tuple[float, bool]:
        scale = self.loss_scale.value or 1.0
        self._set_rate(learning_rate)
        self.optimizer.step()
        skipped = self.loss_scale.update()
        if skipped:  # ColossalAI 0.5.0 would add the next gradient to the one that overflowed
            self.boosted.chunk_manager.accumulating_grads = False
        return math.inf if skipped else self.optimizer.get_grad_norm() / scale, skipped

    @override
    def scale(self) -> float | None:
        return self.loss_scale.value

    @override
    def phase(self) -> str | None:
        return "warm-up" if self.manager.need_warmup and self.manager.is_warmup() else "placed"

    @override
    def local_state(self) -> dict[str, Any]:
        return {
            "chunks": [payload.cpu() for payload in self._payloads()],
            "optimizer": self.optimizer.optim.state_dict(),
            "scale": self.loss_scale.state_dict(),
        }

    @override
    def load_local_state(self, state: Mapping[str, Any]) -> None:
        for payload, saved in zip(self._payloads(), state["chunks"], strict=True):
            payload.copy_(saved)
        self.optimizer.optim.load_state_dict(state["optimizer"])
        self.loss_scale.load_state_dict(state["scale"])

    @override
    def full_state(self) -> dict[str, Tensor] | None:
        state = {name: copy_to_fp32(tensor) for name, tensor in self.others.items()}
        for chunk in self._chunks():
            whole = get_temp_total_chunk_on_cuda(chunk.paired_chunk, torch.float32)
            assert whole is not None
            for tensor, tensor_info in chunk.tensors_info.items():
                master = copy_to_fp32(whole[tensor_info.offset : tensor_info.end].view(tensor.shape))
                state |= dict.fromkeys(self.names[id(tensor)], master)
        return state if process_group.rank() == 0 else None

    def _chunks(self) -> tuple[Any, ...]:
        return self.boosted.chunk_manager.get_chunks(self.boosted.fp16_params)

    def _payloads(self) -> Iterator[Tensor]:
        """This process's parts of the chunks, and of those of the masters."""
        for chunk in self._chunks():
            yield chunk.payload
            yield chunk.paired_chunk.payload

    def _start_from(self, weights: Mapping[int, Tensor]) -> None:
        """Let the masters hold the weights as they were before they were cast."""
        for chunk in self._chunks():
            whole = torch.zeros(chunk.chunk_size)
            for tensor, tensor_info in chunk.tensors_info.items():
                whole[tensor_info.offset : tensor_info.end] = weights[id(tensor)].flatten()
            masters = chunk.paired_chunk
            part = whole if masters.is_gathered else whole[masters.shard_begin : masters.shard_end]
            masters.payload.copy_(part)


def plugin_arguments(settings: EngineSettings, placement: Placement, model: nn.Module) -> dict[str, Any]:
    """What the plugin is told.

    Chunks are at least 32M elements, as ColossalAI has it, but small enough for a model to have several: one chunk
    is moved whole or not at all. Their size is searched for in steps of the model's width.
    """
    elements = sum(parameter.numel() for parameter in model.parameters()) / _MILLION
    config: Any = model.config
    return {
        "placement_policy": placement.policy,
        "offload_optim_frac": placement.offload_optimizer_fraction,
        "offload_param_frac": placement.offload_parameters_fraction,
        "precision": settings.precision,
        "enable_gradient_accumulation": settings.accumulation > 1,
        "pin_memory": True,  # what moves asynchronously must be
        "hidden_dim": config.hidden_size,
        "min_chunk_size_m": min(32, elements / _CHUNKS),
        "search_range_m": min(32, max(1, math.ceil(elements / _CHUNKS))),
        "max_norm": math.inf
        if settings.train.max_grad_norm is None
        else settings.train.max_grad_norm,  # at 0 it would tell no norm
        **loss_scale_arguments(settings),
    }


class AdamW(torch.optim.AdamW):
    """torch's AdamW, as Gemini steps it: with gradients in half precision, and a number to divide them by.

    ColossalAI's HybridAdam is an extension that wants CUDA's compiler, and divides no gradient in bf16 on the host,
    so that there nothing is clipped (0.5.0).
    """

    @override
    def step(self, closure: Callable[[], float] | None = None, div_scale: float = -1.0) -> float | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Take a step along the gradients over `div_scale`; -1 stands for 1."""
        for parameters in self.param_groups:
            for parameter in parameters["params"]:
                half, parameter.grad = parameter.grad, None
                if half is not None:
                    parameter.grad = half.float() if div_scale == -1 else half.float() / div_scale
        return super().step(closure)


def _build_adamw(objective: nn.Module, settings: EngineSettings) -> AdamW:
    gemini_optimizer._AVAIL_OPTIM_LIST.add(AdamW)
    groups = optimizers.parameter_groups(objective, settings.train.weight_decay)
    return AdamW(groups, **optimizers.adamw_arguments(settings.train))
