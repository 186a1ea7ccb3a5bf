"""The blocks of a model, and what is outside of them, by its modules alone."""

from collections.abc import Iterator

from torch import nn


def find_blocks(module: nn.Module) -> Iterator[nn.Module]:
    """The repeated parts of a model: the members of its outermost lists of modules."""
    for child in module.children():
        if isinstance(child, nn.ModuleList):
            yield from child
        else:
            yield from find_blocks(child)


def walk_outside_of_blocks(module: nn.Module) -> Iterator[nn.Module]:
    """A module and all below it that are in none of its blocks."""
    yield module
    for child in module.children():
        if not isinstance(child, nn.ModuleList):
            yield from walk_outside_of_blocks(child)
