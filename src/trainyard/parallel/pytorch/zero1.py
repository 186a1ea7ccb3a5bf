"""ZeRO's first level in torch: data parallel, with each process holding a part of AdamW's state."""

import torch
from torch.distributed.optim import ZeroRedundancyOptimizer
from typing_extensions import override

from trainyard.optim import adamw
from trainyard.parallel.pytorch import ddp


class Engine(ddp.Engine):
    """DistributedDataParallel with torch's ZeroRedundancyOptimizer around AdamW."""

    @override
    def _optimizer(self) -> torch.optim.Optimizer:
        self.sharded = ZeroRedundancyOptimizer(
            adamw.parameter_groups(self.objective, self.settings.train.weight_decay),
            optimizer_class=torch.optim.AdamW,
            **adamw.adamw_arguments(self.settings.train),
        )
        return self.sharded

    @override
    def _local_optimizer(self) -> dict:
        return self.sharded.optim.state_dict()

    @override
    def _load_optimizer(self, state: dict) -> None:
        self.sharded.optim.load_state_dict(state)
