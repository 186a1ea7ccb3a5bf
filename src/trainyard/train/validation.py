"""The loss on held-out rows."""

from collections.abc import Iterable

import torch

from trainyard.parallel import group
from trainyard.parallel.engine import Batch, Engine, predicted_tokens


def validation_loss(engine: Engine, batches: Iterable[Batch]) -> float:
    """The mean cross-entropy in nats over all predicted tokens of all ranks' `batches`.

    A collective: every rank brings equally many batches, if need be some in which nothing is predicted.
    """
    total = torch.zeros((), dtype=torch.float64, device=engine.device)
    tokens = 0
    for batch in batches:
        total += engine.loss_sum(batch)
        tokens += predicted_tokens([batch])
    loss, count = group.sum_over_ranks([total.item(), tokens])
    return loss / count
