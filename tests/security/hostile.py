"""What somebody could put where data is read: things that run a command as soon as anything lets them."""

import io
import os
import pickle
import zipfile
from collections.abc import Mapping
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


def wheel(folder: Path, members: Mapping[str, str | bytes]) -> Path:
    """A package `parts` 1.0, with these members; some lead out of the folder that it would be unpacked to."""
    path = folder / "parts-1.0-py3-none-any.whl"
    about = {"METADATA": "Metadata-Version: 2.1\nName: parts\nVersion: 1.0\n", "RECORD": ""}
    about["WHEEL"] = "Wheel-Version: 1.0\nGenerator: by hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {**members, **{f"parts-1.0.dist-info/{name}": text for name, text in about.items()}}.items():
            archive.writestr(name, text)
    return path
