"""What makes a step of a GPU quicker, taken away again one by one, so that the share of each is measured."""

import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import product
from typing import Any

Lever = tuple[str, str, Any]
"""The module, which needs torch, its attribute, and what stands there without the lever."""
LEVERS: dict[str, Lever] = {
    # transformers' own attention, which looks into each batch, and makes a mask under a compiler
    "attention without a mask": ("trainyard.models.build", "maskless", lambda: None),
    # eight elementwise operators
    "fused GELU": ("trainyard.models.build", "fuse_gelu", lambda _model: None),
    # a leading dimension of as many logits as there are tokens
    "padded logits": ("trainyard.models.loss", "_MULTIPLE", dict.fromkeys(product(("cpu", "cuda"), (2, 4)), 1)),
    # operators one by one
    "fused loss": ("trainyard.models.logits", "_can_compile", lambda: False),
}
"""By name."""


@contextmanager
def without(name: str | None, levers: Mapping[str, Lever] = LEVERS) -> Iterator[None]:
    """Build and train models without one of the levers; with all of them if there is no name."""
    if name is None:
        yield
        return
    module_name, attribute, plain = levers[name]
    module = importlib.import_module(module_name)
    kept = getattr(module, attribute)
    setattr(module, attribute, plain)
    try:
        yield
    finally:
        setattr(module, attribute, kept)
