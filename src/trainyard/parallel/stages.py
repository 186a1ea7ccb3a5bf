"""How the blocks of a model are laid over processes, and what a process computes of it, family by family."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from trainyard.config.catalogue import Family
from trainyard.errors import InputError
from trainyard.models.gpt2_modern import rotations


@dataclass(frozen=True)
class Anatomy:
    """Where a family has what, and how its parts are called; what its own forward does, in pieces.

    Attributes:
        trunk: the name of the module that holds all but the head.
        blocks: the name of its list of blocks.
        before: names of its parts that are used before the blocks, the embedding of tokens first.
        after: names of its parts that are used after the blocks.
        embed: trunk and tokens (batch, time) to what the first block reads (batch, time, width).
        run: trunk, a block and what it reads to what it gives, both (batch, time, width).
        finish: trunk and what the last block gives to what the head reads (batch, time, head's width).
    """

    trunk: str
    blocks: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    embed: Callable[[Any, Tensor], Tensor]
    run: Callable[[Any, nn.Module, Tensor], Tensor]
    finish: Callable[[Any, Tensor], Tensor]


class Stage(nn.Module):
    """What one process computes of a model: some blocks, and at the ends what stands before and after them.

    The model keeps its names and loses, in place, all that other processes hold.

    Args:
        model: a whole model, the same on every process.
        family: its family.
        index: of this process among those that share the model.
        stages: how many they are.
        autocast: makes the context in which it computes.

    Raises:
        InputError: there are fewer blocks than processes.
    """

    def __init__(
        self, model: nn.Module, family: Family, index: int, stages: int, autocast: Callable[[], AbstractContextManager]
    ) -> None:
        super().__init__()
        self._autocast = autocast
        self._anatomy = ANATOMIES[family]
        self.first, self.last = index == 0, index == stages - 1
        self.trunk: Any = model.get_submodule(self._anatomy.trunk)
        blocks = self.trunk.get_submodule(self._anatomy.blocks)
        bounds = _bounds(len(blocks), stages)
        self._own = range(*bounds[index])
        for number in range(len(blocks)):
            if number not in self._own:
                setattr(blocks, str(number), None)
        if not self.last:
            model.lm_head = None  # pyright: ignore[reportArgumentType]
        for names, here in ((self._anatomy.before, self.first), (self._anatomy.after, self.last)):
            for name in names if not here else ():
                setattr(self.trunk, name, None)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (batch, time) on the first process, else hidden states, to hidden states (batch, time, width)."""
        blocks = self.trunk.get_submodule(self._anatomy.blocks)
        with self._autocast():
            if self.first:
                x = self._anatomy.embed(self.trunk, x)
            for number in self._own:
                x = self._anatomy.run(self.trunk, blocks[number], x)
            return self._anatomy.finish(self.trunk, x) if self.last else x


def token_embedding(model: nn.Module, family: Family) -> nn.Parameter:
    """The weight of the embedding of tokens."""
    anatomy = ANATOMIES[family]
    return model.get_submodule(f"{anatomy.trunk}.{anatomy.before[0]}").get_parameter("weight")


def _bounds(blocks: int, stages: int) -> list[tuple[int, int]]:
    """First and last block, exclusive, of each process: as even as can be, and the first, without the head, no less."""
    if blocks < stages:
        raise InputError(
            f"config/parallel.yaml: pipeline: {stages} processes can't share {blocks} blocks; take fewer processes, "
            "or a deeper model"
        )
    return list(pairwise(-(-index * blocks // stages) for index in range(stages + 1)))


def _positions(x: Tensor) -> Tensor:
    """The numbers of the tokens, (1, time)."""
    return torch.arange(x.shape[1], device=x.device).unsqueeze(0)


def _embed_gpt2(trunk: Any, tokens: Tensor) -> Tensor:
    return trunk.drop(trunk.wte(tokens) + trunk.wpe(_positions(tokens)))


def _embed_opt(trunk: Any, tokens: Tensor) -> Tensor:
    x = trunk.embed_tokens(tokens)
    x = x if trunk.project_in is None else trunk.project_in(x)
    return x + trunk.embed_positions(None, position_ids=_positions(tokens))


def _finish_opt(trunk: Any, x: Tensor) -> Tensor:
    x = x if trunk.final_layer_norm is None else trunk.final_layer_norm(x)
    return x if trunk.project_out is None else trunk.project_out(x)


def _run_llama(trunk: Any, block: nn.Module, x: Tensor) -> Tensor:
    return block(x, position_embeddings=trunk.rotary_emb(x, position_ids=_positions(x)))


def _run_modern(trunk: Any, block: nn.Module, x: Tensor) -> Tensor:
    angles = rotations(x.shape[1], trunk.head_width, trunk.rope_base, x.device)
    if trunk.checkpoint_arguments is not None and trunk.training:
        found = checkpoint(block, x, *angles, **trunk.checkpoint_arguments)
        assert isinstance(found, Tensor)
        return found
    return block(x, *angles)


ANATOMIES: Mapping[str, Anatomy] = {
    "gpt2": Anatomy(
        "transformer",
        "h",
        ("wte", "wpe"),
        ("ln_f",),
        _embed_gpt2,
        lambda _trunk, block, x: block(x),
        lambda trunk, x: trunk.ln_f(x),
    ),
    "opt": Anatomy(
        "model.decoder",
        "layers",
        ("embed_tokens", "embed_positions", "project_in"),
        ("final_layer_norm", "project_out"),
        _embed_opt,
        lambda _trunk, block, x: block(x),
        _finish_opt,
    ),
    "llama": Anatomy(
        "model",
        "layers",
        ("embed_tokens",),
        ("norm",),
        lambda trunk, tokens: trunk.embed_tokens(tokens),
        _run_llama,
        lambda trunk, x: trunk.norm(x),
    ),
    "gpt2_modern": Anatomy(
        "model",
        "layers",
        ("embed_tokens",),
        ("norm",),
        lambda trunk, tokens: trunk.embed_tokens(tokens),
        _run_modern,
        lambda trunk, x: trunk.norm(x),
    ),
}
