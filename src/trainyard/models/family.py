"""The file of a family of models: what it must hold, what it may hold, and finding it by its name."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from trainyard.core.errors import InputError


@dataclass(frozen=True)
class TensorSplit:
    """Which matrices the processes of one copy share (TENSOR_SPLIT).

    Attributes:
        columns: last names of the modules whose outputs are shared out.
        rows: last names of the modules whose inputs are.
        counts: attributes of modules that count heads or widths, and have to count a process's own.
        fused: of `columns`, names of those that hold several matrices side by side, and how many.
    """

    columns: frozenset[str]
    rows: frozenset[str]
    counts: frozenset[str] = frozenset()
    fused: tuple[str, int] | None = None


@dataclass(frozen=True)
class PipelineSplit:
    """Where a model has what; what its own forward does, in pieces (PIPELINE_SPLIT).

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


def load_module(family: str) -> ModuleType:
    """The file that knows a family.

    It has `MODEL`, the class that is trained; `EXPORTED`, transformers' class, where that is another;
    `DROPOUT`, the names of the configuration's dropout rates; `configuration(shape, tokens)`; `TRAINED`, what
    the configuration says otherwise while it is trained, where it does and computes the same;
    `native_window(configuration, window)`, where transformers itself reads a window of attention; and
    `TENSOR_SPLIT` and `PIPELINE_SPLIT`, where one copy can be spread so.

    Raises:
        InputError: there is no such file, or it lacks something that every family has.
    """
    name = f"trainyard.models.{family}"
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise InputError(f"{_file(family)}: no such file; docs/how-to/add-a-model.md shows what it holds") from None
    for key in ("MODEL", "DROPOUT", "configuration"):
        _part(module, family, key, object)
    return module


def tensor_split(family: str) -> TensorSplit:
    """How the matrices of a family are split.

    Raises:
        InputError: its file doesn't tell.
    """
    return _part(load_module(family), family, "TENSOR_SPLIT", TensorSplit)


def pipeline_split(family: str) -> PipelineSplit:
    """How the blocks of a family are laid over processes.

    Raises:
        InputError: its file doesn't tell.
    """
    return _part(load_module(family), family, "PIPELINE_SPLIT", PipelineSplit)


def positions(x: Tensor) -> Tensor:
    """The numbers of the tokens, (1, time), of what has (batch, time, ...)."""
    return torch.arange(x.shape[1], device=x.device).unsqueeze(0)


def _part(module: ModuleType, family: str, key: str, kind: type[Any]) -> Any:
    part = getattr(module, key, None)
    if not isinstance(part, kind) or part is None:
        raise InputError(f"{_file(family)}: {key}: this is missing; docs/how-to/add-a-model.md shows what it is")
    return part


def _file(family: str) -> str:
    return f"src/trainyard/models/{family}.py"
