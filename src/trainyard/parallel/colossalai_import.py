"""ColossalAI's classes, without what it says of libraries that nobody here uses."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # on apex, TensorNVMe and deprecated names of torch
    from colossalai.booster import Booster
    from colossalai.booster.plugin import GeminiPlugin, HybridParallelPlugin, LowLevelZeroPlugin, TorchDDPPlugin
    from colossalai.booster.plugin.plugin_base import Plugin
    from colossalai.interface import OptimizerWrapper
    from colossalai.zero import LowLevelZeroOptimizer

__all__ = [
    "Booster",
    "GeminiPlugin",
    "HybridParallelPlugin",
    "LowLevelZeroOptimizer",
    "LowLevelZeroPlugin",
    "OptimizerWrapper",
    "Plugin",
    "TorchDDPPlugin",
]
