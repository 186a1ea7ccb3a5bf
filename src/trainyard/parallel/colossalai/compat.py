"""ColossalAI's classes, without what it says of libraries that nobody here uses."""

import warnings
from contextlib import AbstractContextManager, nullcontext

# CpuAccelerator's methods raise, which a type checker takes for their type
# pyright: reportIncompatibleMethodOverride=false
import torch
from typing_extensions import override

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # on apex, TensorNVMe and deprecated names of torch
    from colossalai.accelerator import set_accelerator
    from colossalai.accelerator.cpu_accelerator import CpuAccelerator
    from colossalai.booster import Booster
    from colossalai.booster.plugin import (
        GeminiPlugin,
        HybridParallelPlugin,
        LowLevelZeroPlugin,
        TorchDDPPlugin,
        hybrid_parallel_plugin,
    )
    from colossalai.booster.plugin.plugin_base import Plugin
    from colossalai.checkpoint_io.utils import gather_distributed_param
    from colossalai.pipeline.schedule import OneForwardOneBackwardSchedule
    from colossalai.tensor.d_tensor import is_customized_distributed_tensor, is_distributed_tensor
    from colossalai.tensor.padded_tensor import to_unpadded_tensor
    from colossalai.zero import LowLevelZeroOptimizer
    from colossalai.zero.gemini import gemini_optimizer
    from colossalai.zero.gemini.utils import get_temp_total_chunk_on_cuda

__all__ = [
    "Booster",
    "CpuAccelerator",
    "GeminiPlugin",
    "HybridParallelPlugin",
    "LowLevelZeroOptimizer",
    "LowLevelZeroPlugin",
    "OneForwardOneBackwardSchedule",
    "Plugin",
    "TorchDDPPlugin",
    "gather_distributed_param",
    "gemini_optimizer",
    "get_temp_total_chunk_on_cuda",
    "hybrid_parallel_plugin",
    "is_customized_distributed_tensor",
    "is_distributed_tensor",
    "set_accelerator",
    "to_unpadded_tensor",
]


class Queue:
    """A stream, or an event in it, of a device that does everything in order: there is nothing to wait for."""

    def wait_stream(self, stream: "Queue") -> None:
        """Return at once."""

    def synchronize(self) -> None:
        """Return at once."""


class Accelerator(CpuAccelerator):
    """ColossalAI's accelerator for CPUs, which raises on most calls, with what training asks of one."""

    @override
    def synchronize(self, device: object = None) -> None:
        """Return at once: operations end before they return."""

    @override
    def device_count(self) -> int:
        return 1

    @override
    def manual_seed(self, seed: int) -> None:
        torch.default_generator.manual_seed(seed)

    @override
    def get_rng_state(self, device: object = None) -> torch.Tensor:
        return torch.get_rng_state()

    @override
    def set_rng_state(self, new_state: torch.Tensor, device: object = None) -> None:
        torch.set_rng_state(new_state)

    @override
    def empty_cache(self) -> None:
        """Nothing is cached."""

    @override
    def Stream(self, device: object = None, priority: int = 0, **options: object) -> Queue:
        return Queue()

    @override
    def current_stream(self, device: object = None) -> Queue:
        return Queue()

    @override
    def stream(self, stream_: object) -> AbstractContextManager[None]:
        return nullcontext()

    @override
    def autocast(
        self, enabled: bool = True, dtype: torch.dtype = torch.float16, cache_enabled: bool = True
    ) -> AbstractContextManager[object]:
        return torch.autocast("cpu", dtype=dtype, enabled=enabled, cache_enabled=cache_enabled)


def use_cpu() -> None:
    """Let ColossalAI train on this CPU. Three of its checks know GPUs only, though nothing after them does."""
    set_accelerator(Accelerator())
    LowLevelZeroOptimizer._sanity_checks = _check_dtypes
    # Its tensor parallel gathers on the GPU; its pipelines set the CUDA device, and compare gloo's name with this one.
    torch.Tensor.cuda = _stay  # pyright: ignore[reportAttributeAccessIssue]
    torch.cuda.set_device = _set_cuda_device
    if not hasattr(torch.distributed.Backend, "HCCL"):
        torch.distributed.Backend.HCCL = "hccl"  # pyright: ignore[reportAttributeAccessIssue]


def _check_dtypes(self: LowLevelZeroOptimizer) -> None:
    """LowLevelZero's check of its parameters, less that of the accelerator's name."""
    parameters = [parameter for group in self.param_groups for parameter in group["params"]]
    assert {parameter.dtype for parameter in parameters} == {self.dtype}


def _stay(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


_set_gpu = torch.cuda.set_device


def _set_cuda_device(device: torch.device | int | str) -> None:
    if not isinstance(device, torch.device) or device.type != "cpu":
        _set_gpu(device)
