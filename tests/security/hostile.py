"""What somebody could put where data is read: things that run a command as soon as anything lets them."""

import io
import os
import pickle
from pathlib import Path
from typing import Any

import torch


class Touch:
    """Unpickled, it runs a command that makes a file."""

    def __init__(self, canary: Path) -> None:
        self._canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self._canary}'",)


def saved(value: Any) -> bytes:
    """What torch writes of it."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def pickles(canary: Path) -> dict[str, bytes]:
    """Files that run the command: as Python writes it, as torch does, and among weights."""
    touch = Touch(canary)
    return {
        "a pickle": pickle.dumps(touch, protocol=2),
        "torch's file": saved(touch),
        "among weights": saved({"model": {"weight": torch.zeros(2)}, "optimizer": [touch], "scale": {}}),
    }
