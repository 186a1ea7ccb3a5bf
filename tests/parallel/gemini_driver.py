"""driver.py with Gemini on a CPU that passes for a GPU: all of it but the moving of chunks between GPU and host."""

from types import SimpleNamespace
from typing import Any

import driver
import torch

from trainyard.parallel.colossalai import compat
from trainyard.parallel.colossalai.compat import set_accelerator


class Accelerator(compat.Accelerator):
    """A CPU by the name of a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self._name = "cuda"


def without_pinning(function: Any) -> Any:
    """A tensor's constructor that leaves its memory as it is."""

    def made(*sizes: Any, pin_memory: bool = False, **options: Any) -> torch.Tensor:
        return function(*sizes, **options)

    return made


def use_cpu() -> None:
    """Let the chunks of Gemini lie where they are made."""
    from colossalai.zero.gemini.chunk.chunk import Chunk  # noqa: PLC0415
    from colossalai.zero.gemini.chunk.manager import ChunkManager  # noqa: PLC0415

    set_accelerator(Accelerator())
    torch.empty, torch.zeros = without_pinning(torch.empty), without_pinning(torch.zeros)
    Chunk.shard_device = property(lambda _: SimpleNamespace(type="cuda"), lambda *_: None)  # pyright: ignore
    ChunkManager.move_chunk = lambda *_, **__: None  # pyright: ignore[reportAttributeAccessIssue]


if __name__ == "__main__":
    compat.use_cpu = use_cpu
    driver.main()
