"""ZeRO's first level in torch: data parallel, with each process holding a part of AdamW's state."""

from pathlib import Path
from typing import Any

import torch
from torch.distributed.optim import ZeroRedundancyOptimizer
from typing_extensions import override

from trainyard.optim import optimizers
from trainyard.parallel import process_group
from trainyard.parallel.engine import load_optimizer, read_state
from trainyard.parallel.pytorch import ddp


class Engine(ddp.Engine):
    """DistributedDataParallel with torch's ZeroRedundancyOptimizer around AdamW."""

    @override
    def _optimizer(self) -> torch.optim.Optimizer:
        self.sharded = ZeroRedundancyOptimizer(
            optimizers.parameter_groups(self.objective, self.settings.train.weight_decay),
            optimizer_class=torch.optim.AdamW,
            parameters_as_bucket_view=True,  # they are sent as they lie, not one by one
            **optimizers.adamw_arguments(self.settings.train),
        )
        return self.sharded

    @override
    def files(self) -> dict[str, Any]:
        return super().files() | {self._optimizer_file: self.sharded.optim.state_dict()}

    @override
    def load(self, folder: Path) -> None:
        super().load(folder)
        load_optimizer(self.sharded.optim, read_state(folder / self._optimizer_file))

    @property
    def _optimizer_file(self) -> str:
        return f"optimizer-{process_group.rank():05d}.pt"

    @override
    def _local_optimizer(self) -> dict:
        return {}  # each rank's own, in a file of its own

    @override
    def _load_optimizer(self, state: dict) -> None:
        pass
