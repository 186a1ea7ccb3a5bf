"""The catalogue of faults, each a few lines that make a training wrong."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from trainyard.data.loader import Batch, Loader
from trainyard.parallel import process_group
from trainyard.parallel.pytorch.single import Engine

Seed = Callable[[Engine, Loader], AbstractContextManager[object]]


def _seed_nothing(_engine: Engine, _loader: Loader) -> AbstractContextManager[object]:
    return nullcontext()


def _lose_gradient(engine: Engine, _loader: Loader) -> AbstractContextManager[object]:
    """The last rank brings a gradient of zeros to the average."""
    accumulate = engine._accumulate  # pyright: ignore[reportPrivateUsage]
    kept = 0.0 if process_group.rank() == process_group.world_size() - 1 else 1.0

    def accumulate_nothing(micro_batches: Sequence[Batch], factor: float) -> Tensor:
        return accumulate(micro_batches, kept * factor)

    return patch.object(engine, "_accumulate", accumulate_nothing)


@contextmanager
def _shift_attention(_engine: Engine, _loader: Loader) -> Any:
    """Each token sees the next one too."""
    attend = torch.nn.functional.scaled_dot_product_attention

    def attend_one_on(query: Tensor, key: Tensor, *given: Any, is_causal: bool = False, **more: Any) -> Tensor:
        if is_causal:
            more["attn_mask"] = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool).tril(1)
        return attend(query, key, *given, **more)

    with patch.object(torch.nn.functional, "scaled_dot_product_attention", attend_one_on):
        yield


def _shift_labels(_engine: Engine, loader: Loader) -> AbstractContextManager[object]:
    """Each token is to predict the one after the next."""
    micro_batches = loader.micro_batches

    def shift(step: int, rank: int, ranks: int) -> list[Batch]:
        return [batch | {"labels": batch["labels"].roll(-1, dims=1)} for batch in micro_batches(step, rank, ranks)]

    return patch.object(loader, "micro_batches", shift)


@dataclass(frozen=True)
class Fault:
    """One way in which an engine can be wrong.

    Attributes:
        title: in words.
        train: the settings that the faulty training has in place of the probe's own.
        seed: makes its engine or its batches wrong while the context lasts.
    """

    title: str
    train: Mapping[str, Any] = field(default_factory=dict)
    seed: Seed = _seed_nothing


def list_faults(learning_rate: float) -> dict[str, Fault]:
    """The catalogue, for probes of this learning rate."""
    return {
        "weight-decay": Fault("weight decay dropped", {"weight_decay": 0.0}),
        "beta2": Fault("a wrong beta2 (0.999, not 0.95)", {"betas": [0.9, 0.999]}),
        "clipping": Fault("clipping off", {"max_grad_norm": None}),
        "learning-rate": Fault("a learning rate 2 % too high", {"learning_rate": 1.02 * learning_rate}),
        "lost-gradient": Fault("one rank's gradient lost", seed=_lose_gradient),
        "attention": Fault("an attention mask off by one", seed=_shift_attention),
        "labels": Fault("labels off by one", seed=_shift_labels),
    }
