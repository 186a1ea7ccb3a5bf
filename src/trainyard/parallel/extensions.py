"""Builds DeepSpeed's C++ extensions once for all processes and all time."""

import os
import platform
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock

from trainyard.errors import InputError


def load_async_io() -> None:
    """Have DeepSpeed's `async_io`, which reads and writes swap files, in this process; build it if it is not there.

    Every rank calls it. One builds and the others wait for the lock, which the system frees when its holder
    dies. torch's own lock is a file that stays behind a killed build, and everybody then waits for it for ever:
    whoever holds ours may delete it. What a killed build leaves half written ninja builds again.

    Raises:
        InputError: it can't be built here; the message says what may be missing.
    """
    from deepspeed.accelerator import get_accelerator  # noqa: PLC0415

    folder = extensions_folder()
    if re.search(r"\s", str(folder)):
        raise InputError(f"{folder}: torch links no extensions in a path with spaces; set TORCH_EXTENSIONS_DIR")
    folder.mkdir(parents=True, exist_ok=True)
    # ninja lies beside Python, where nobody looks for it unless the environment is activated
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    with FileLock(folder / ".lock"), _environment({"TORCH_EXTENSIONS_DIR": str(folder), "PATH": path}):
        for left in folder.glob("*/lock"):
            left.unlink()
        _load(get_accelerator().create_op_builder("AsyncIOBuilder"))


def _load(builder: Any) -> None:
    try:
        builder.load(verbose=False)
    except (RuntimeError, ImportError, OSError) as error:
        raise InputError(
            f"DeepSpeed's extension {builder.NAME} can't be built here: {error}\n"
            "It takes g++, ninja and libaio (Debian: apt-get install g++ ninja-build libaio-dev)"
        ) from error


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def extensions_folder() -> Path:
    """Where the extensions of these versions, built for this processor, lie.

    They are in $TORCH_EXTENSIONS_DIR, or else ~/.cache: never in the repository, whose path may hold spaces.
    """
    root = os.environ.get("TORCH_EXTENSIONS_DIR") or Path("~/.cache/trainyard/extensions").expanduser()
    versions = [platform.python_version(), *(version(package) for package in ("torch", "deepspeed"))]
    key = sha256("\n".join([*versions, platform.machine(), _processor_flags()]).encode()).hexdigest()[:12]
    return Path(root) / f"trainyard-{key}"


def _processor_flags() -> str:
    """What the processor can do: extensions are built for it, and a home folder may serve several kinds."""
    information = Path("/proc/cpuinfo")
    text = information.read_text(encoding="utf-8") if information.exists() else ""
    found = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1] if found else platform.processor()
