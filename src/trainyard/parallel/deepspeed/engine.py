"""DeepSpeed's ZeRO, levels 0 to 3, with and without offloading to the host's memory or to files."""

import gc
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from typing_extensions import override

from trainyard.config.engine_options import DeepSpeed, parse_options
from trainyard.optim import optimizers
from trainyard.parallel import engine, process_group
from trainyard.parallel.deepspeed.config import Size, count_locked_bytes, make_config
from trainyard.parallel.deepspeed.extensions import load_async_io, require_lockable
from trainyard.parallel.deepspeed.zero3_shards import Shards
from trainyard.parallel.engine import Batch, EngineSettings, Step, copy_to_fp32

_TAG = "state"
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def _import(device: Literal["cpu", "cuda"]) -> Any:
    """DeepSpeed, which chooses its device when it is imported, and tells of every step unless told not to."""
    os.environ.setdefault("DS_ACCELERATOR", device)
    os.environ.setdefault("DEEPSPEED_LOG_LEVEL", "error")
    import deepspeed  # noqa: PLC0415

    return deepspeed


class Engine(engine.Engine):
    """DeepSpeed around torch's AdamW.

    Below fp32, level 0 is torch's autocast; the others hold the model in bf16 or fp16, with masters in fp32.
    """

    @override
    @classmethod
    def start(cls, device: Literal["cpu", "cuda"]) -> None:
        super().start(device)
        deepspeed = _import(device)
        # Its shared-memory collectives on CPUs are a C++ extension; without them it uses gloo.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        # It asks for this where there is one process too, which torchrun hasn't numbered.
        os.environ.setdefault("LOCAL_RANK", "0")
        deepspeed.init_distributed(dist_backend="gloo" if device == "cpu" else "nccl", auto_mpi_discovery=False)

    def __init__(self, objective: nn.Module, settings: EngineSettings) -> None:
        super().__init__(objective, settings)
        self.options: DeepSpeed = parse_options("deepspeed", settings.parallel.options)
        deepspeed = _import(settings.device)
        trained = sum(parameter.numel() for parameter in objective.parameters() if parameter.requires_grad)
        largest = max(parameter.numel() for parameter in objective.parameters())
        size = Size(trained, largest, process_group.world_size())
        if self.options.swaps:
            require_lockable(count_locked_bytes(settings, size))
            load_async_io()
        exact = {}
        if settings.precision != "fp32":
            exact = {parameter: parameter.data for parameter in objective.parameters() if parameter.requires_grad}
        config = make_config(settings, size)
        optimizer = optimizers.build_optimizer(objective, settings.train)
        if self.options.level == 3:
            # By hand, since initialize() would hold the whole model on the device, and swap an fp32 model in bf16.
            objective.to(_DTYPES[settings.precision])
            deepspeed.zero.Init(module=objective, config_dict_or_path=config)
        objective.to(self.device)
        self.engine, *_ = deepspeed.initialize(model=objective, optimizer=optimizer, config=config)
        if self.engine.torch_autocast_z0_gradscaler:  # at level 0, where DeepSpeed takes torch's own start
            scaler = torch.amp.GradScaler(settings.device, init_scale=settings.train.initial_loss_scale)
            self.engine.torch_autocast_z0_gradscaler = scaler
        elif settings.precision == "fp16":  # the training loop ends a run whose scale can't get smaller, with a reason
            self.engine.optimizer.loss_scaler.raise_error_at_min_scale = False
        # Level 0 sets it for the whole process, and later engines of other levels would sum in bf16 for it.
        deepspeed.runtime.torch_autocast.TORCH_AUTOCAST_INITIALIZED = False
        self.shards = Shards(self.engine.optimizer) if self.options.level == 3 else None
        if exact:
            self._start_masters(exact)

    @override
    def train_step(self, micro_batches: Sequence[Batch], learning_rate: float) -> Step:
        (tokens,) = process_group.sum_over_ranks([engine.count_predicted(micro_batches)])
        factor = process_group.world_size() / tokens
        losses = []
        optimizers.set_hyperparameters(self.engine.optimizer.param_groups, self.settings.train, learning_rate)
        for number, batch in enumerate(micro_batches, 1):
            self.engine.set_gradient_accumulation_boundary(number == len(micro_batches))
            loss = self.engine(**self._to_device(batch))
            self.engine.backward(loss * factor, scale_wrt_gas=False)
            losses.append(loss.detach())
        scale = self._loss_scale()
        norm, loss = self._norm_of_plain_gradients(), torch.stack(losses).double().sum()
        self.engine.step()
        norm = self.engine.get_global_grad_norm() if norm is None else norm / scale
        norm, loss = engine.read_together(torch.as_tensor(norm), loss)
        (total,) = process_group.sum_over_ranks([loss])
        skipped = self._loss_scale() < scale or not self.engine.was_step_applied()
        return Step(
            total / tokens,
            norm,
            int(tokens),
            skipped=skipped,
            loss_scale=scale if self.settings.precision == "fp16" else None,
        )

    @override
    def files(self) -> dict[str, Any] | None:
        if self.options.level > 0:
            return None
        scaler = self.engine.torch_autocast_z0_gradscaler
        return self._state_files(
            lambda: {
                "model": self.model.state_dict(),
                "optimizer": self.engine.optimizer.state_dict(),
                "scaler": scaler.state_dict() if scaler else None,
            }
        )

    @override
    def save(self, folder: Path) -> None:
        if self.options.level == 0:
            super().save(folder)
        elif self.options.swaps:
            assert self.shards is not None
            self.shards.save(folder)
        else:
            self.engine.save_checkpoint(str(folder), tag=_TAG, save_latest=False)

    @override
    def load(self, folder: Path) -> None:
        if self.options.level == 0:
            state = engine.read_state(folder / self._state_file)
            self.model.load_state_dict(state["model"])
            engine.load_optimizer(self.engine.optimizer, state["optimizer"])
            if state["scaler"]:
                self.engine.torch_autocast_z0_gradscaler.load_state_dict(state["scaler"])
        elif self.options.swaps:
            assert self.shards is not None
            self.shards.load(folder)
        else:
            self._load_checkpoint(folder)
            self.engine.optimizer.clip_grad = self.settings.train.max_grad_norm or 0.0  # not that of the checkpoint

    @override
    def full_state(self) -> dict[str, Tensor] | None:
        masters = self.shards.masters(process_group.rank() == 0) if self.shards else {}
        state = {}
        for name, tensor in self.model.state_dict(keep_vars=True).items():
            whole = masters[tensor] if tensor in masters else self._whole(tensor)
            if whole is not None and process_group.rank() == 0:
                state[name] = copy_to_fp32(whole)
        return state or None

    @override
    def close(self) -> None:
        # Without this order gloo's threads now and then abort the process after all is done.
        self.engine.destroy()
        del self.engine, self.objective
        gc.collect()
        super().close()

    @property
    @override
    def _saver(self) -> int:
        return 0 if self.options.level == 0 else super()._saver

    @override
    def _autocast(self) -> AbstractContextManager[object]:
        return super()._autocast() if self.options.level == 0 else nullcontext()

    def _start_masters(self, exact: dict[nn.Parameter, Tensor]) -> None:
        """Give the masters the fp32 weights that training starts from: DeepSpeed takes them rounded."""
        from deepspeed.utils import safe_set_full_fp32_param  # noqa: PLC0415

        if self.shards:
            self.shards.set_masters(exact)
        elif self.options.level > 0:
            for parameter, whole in exact.items():
                safe_set_full_fp32_param(parameter, whole)

    def _load_checkpoint(self, folder: Path) -> None:
        """Read a checkpoint of DeepSpeed's."""
        from deepspeed.runtime.fp16.loss_scaler import DynamicLossScaler, LossScaler  # noqa: PLC0415
        from deepspeed.runtime.zero.config import ZeroStageEnum  # noqa: PLC0415
        from deepspeed.utils.tensor_fragment import fragment_address  # noqa: PLC0415

        # DeepSpeed asks torch to unpickle anything; this overrules it, and these plain classes are all it writes.
        os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
        with torch.serialization.safe_globals([LossScaler, DynamicLossScaler, ZeroStageEnum, fragment_address]):
            path, _ = self.engine.load_checkpoint(str(folder), tag=_TAG)
        assert path is not None, f"DeepSpeed found no checkpoint in {folder}"

    def _whole(self, tensor: Tensor) -> Tensor:
        """The whole of a parameter or buffer, in fp32 where the optimizer keeps it so."""
        from deepspeed.runtime.zero import GatheredParameters  # noqa: PLC0415
        from deepspeed.utils import safe_get_full_fp32_param  # noqa: PLC0415

        if self.options.level in (1, 2) and tensor.requires_grad:
            whole = safe_get_full_fp32_param(tensor)
            assert whole is not None
            return whole
        with GatheredParameters([tensor], enabled=self.options.level == 3 and isinstance(tensor, nn.Parameter)):
            return tensor.detach().clone()

    def _loss_scale(self) -> float:
        """What the loss is multiplied by: 1 but in fp16."""
        if self.settings.precision != "fp16":
            return 1.0
        scaler = self.engine.torch_autocast_z0_gradscaler
        return float(self.engine.optimizer.cur_scale if scaler is None else scaler.get_scale())

    def _norm_of_plain_gradients(self) -> Tensor | None:
        """The scaled gradient's norm at level 0, where DeepSpeed steps a plain optimizer and tells none; else None."""
        if self.options.level > 0:
            return None
        gradients = [parameter.grad for parameter in self.objective.parameters() if parameter.grad is not None]
        return torch.nn.utils.get_total_norm(gradients).double()
