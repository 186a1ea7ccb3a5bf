"""DeepSpeed's ZeRO, levels 0 to 3 (option `stage`)."""

import gc
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from typing_extensions import override

from trainyard.parallel import engine, group
from trainyard.parallel.engine import Batch, EngineSettings, Step, fp32_copy

_TAG = "state"


def _import(device: Literal["cpu", "cuda"]) -> Any:
    """DeepSpeed, which chooses its device when it is imported, and tells of every step unless told not to."""
    os.environ.setdefault("DS_ACCELERATOR", device)
    os.environ.setdefault("DEEPSPEED_LOG_LEVEL", "error")
    import deepspeed  # noqa: PLC0415

    return deepspeed


class Engine(engine.Engine):
    """DeepSpeed around torch's AdamW, in DeepSpeed's own fp32, bf16 and fp16."""

    @override
    @classmethod
    def start(cls, device: Literal["cpu", "cuda"]) -> None:
        super().start(device)
        deepspeed = _import(device)
        # Its shared-memory collectives on CPUs are a C++ extension; without them it uses gloo.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        deepspeed.init_distributed(dist_backend="gloo" if device == "cpu" else "nccl", auto_mpi_discovery=False)

    def __init__(self, objective: nn.Module, settings: EngineSettings) -> None:
        super().__init__(objective, settings)
        self.stage = int(settings.options["stage"])
        objective.to(self.device)
        deepspeed = _import(settings.device)
        self.engine, *_ = deepspeed.initialize(
            model=objective, optimizer=engine.adamw(objective, settings), config=configuration(settings, self.stage)
        )

    @override
    def train_step(self, micro_batches: Sequence[Batch], learning_rate: float) -> Step:
        (tokens,) = group.sum_over_ranks([engine.predicted_tokens(micro_batches)])
        factor = group.world_size() / tokens
        losses = []
        for parameters in self.engine.optimizer.param_groups:
            parameters["lr"] = learning_rate
        for number, batch in enumerate(micro_batches, 1):
            self.engine.set_gradient_accumulation_boundary(number == len(micro_batches))
            loss = self.engine(**self._to_device(batch))
            self.engine.backward(loss * factor, scale_wrt_gas=False)
            losses.append(loss.detach())
        norm = self._norm_of_plain_gradients()
        self.engine.step()
        (total,) = group.sum_over_ranks([torch.stack(losses).double().sum().item()])
        norm = float(self.engine.get_global_grad_norm()) if norm is None else norm
        return Step(total / tokens, norm, int(tokens), skipped=not self.engine.was_step_applied())

    @override
    def save(self, folder: Path) -> None:
        self.engine.save_checkpoint(str(folder), tag=_TAG, save_latest=False)

    @override
    def load(self, folder: Path) -> None:
        from deepspeed.runtime.fp16.loss_scaler import DynamicLossScaler, LossScaler  # noqa: PLC0415
        from deepspeed.runtime.zero.config import ZeroStageEnum  # noqa: PLC0415
        from deepspeed.utils.tensor_fragment import fragment_address  # noqa: PLC0415

        # DeepSpeed asks torch to unpickle anything; this overrules it, and these plain classes are all it writes.
        os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
        with torch.serialization.safe_globals([LossScaler, DynamicLossScaler, ZeroStageEnum, fragment_address]):
            path, _ = self.engine.load_checkpoint(str(folder), tag=_TAG)
        assert path is not None, f"DeepSpeed found no checkpoint in {folder}"

    @override
    def full_state(self) -> dict[str, Tensor] | None:
        state = {}
        for name, tensor in self.model.state_dict(keep_vars=True).items():
            master = self._master(tensor) if isinstance(tensor, nn.Parameter) else tensor
            if group.rank() == 0:
                state[name] = fp32_copy(master)
        return state or None

    @override
    def close(self) -> None:
        # Without this order gloo's threads now and then abort the process after all is done.
        self.engine.destroy()
        del self.engine, self.objective
        gc.collect()
        super().close()

    @override
    def _autocast(self) -> AbstractContextManager[object]:
        return nullcontext()

    def _master(self, parameter: nn.Parameter) -> Tensor:
        """The whole of a parameter, in fp32 where the optimizer keeps it so."""
        from deepspeed.runtime.zero import GatheredParameters  # noqa: PLC0415
        from deepspeed.utils import safe_get_full_fp32_param  # noqa: PLC0415

        if self.stage == 0 and self.settings.precision != "fp32":
            halves, wholes = self.engine.optimizer.fp16_groups, self.engine.optimizer.fp32_groups
            pairs = zip(chain.from_iterable(halves), chain.from_iterable(wholes), strict=True)
            return next((whole for half, whole in pairs if half is parameter), parameter)
        if parameter.requires_grad and self.stage > 0:
            whole = safe_get_full_fp32_param(parameter)
            assert whole is not None
            return whole
        with GatheredParameters([parameter], enabled=self.stage == 3):
            return parameter.detach().clone()

    def _norm_of_plain_gradients(self) -> float | None:
        """The gradient's norm where DeepSpeed steps a plain optimizer and tells none; None elsewhere."""
        if self.stage != 0 or self.settings.precision != "fp32":
            return None
        gradients = [parameter.grad for parameter in self.objective.parameters() if parameter.grad is not None]
        return torch.nn.utils.get_total_norm(gradients).item()


def configuration(settings: EngineSettings, stage: int) -> dict[str, Any]:
    """DeepSpeed's configuration for these settings.

    Clipping is always stated: left out, DeepSpeed 0.19 clips at 1.0; 0 does not clip.
    """
    return {
        "train_micro_batch_size_per_gpu": settings.micro_batch,
        "gradient_accumulation_steps": settings.accumulation,
        "gradient_clipping": settings.clip or 0.0,
        "steps_per_print": None,
        "zero_optimization": {"stage": stage},
        "bf16": {"enabled": settings.precision == "bf16"},
        "fp16": {"enabled": settings.precision == "fp16", "initial_scale_power": 16},
    }
