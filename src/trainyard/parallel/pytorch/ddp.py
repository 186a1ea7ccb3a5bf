"""Distributed data parallel: every process holds the whole model and averages gradients."""

from contextlib import AbstractContextManager, nullcontext

from torch import nn
from torch.nn.parallel import DistributedDataParallel
from typing_extensions import override

from trainyard.parallel.pytorch import single


class Engine(single.Engine):
    """torch's DistributedDataParallel; gradients are exchanged once a step, in the last micro-batch."""

    @property
    @override
    def _saver(self) -> int:
        return 0

    @override
    def _wrap(self, objective: nn.Module) -> nn.Module:
        devices = [self.device] if self.device.type == "cuda" else None
        # gradients are views of the buckets that are exchanged: one copy of them instead of two
        self.spread = DistributedDataParallel(
            super()._wrap(objective), device_ids=devices, gradient_as_bucket_view=True
        )
        return self.spread

    @override
    def _sync_context(self, last: bool) -> AbstractContextManager[None]:
        return nullcontext() if last else self.spread.no_sync()
