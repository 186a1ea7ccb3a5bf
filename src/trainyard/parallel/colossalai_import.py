"""ColossalAI's classes, without what it says of libraries that nobody here uses."""

import warnings

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
