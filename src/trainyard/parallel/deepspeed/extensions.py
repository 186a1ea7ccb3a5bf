"""Builds DeepSpeed's C++ extensions once for all processes and all time."""

import importlib.util
import os
import platform
import re
import resource
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock

from trainyard.core.errors import InputError
from trainyard.core.python_environment import extensions_root

# `async_io` takes symbols of `pin_memory`, which goes first
_PARTS = {"pin_memory": "PinMemoryBuilder", "async_io": "AsyncIOBuilder"}


def load_async_io() -> None:
    """Have DeepSpeed's `async_io`, which reads and writes swap files, in this process; build it if it is not there.

    Every rank calls it: one builds, and the others wait for its lock, which the system frees when the holder
    dies. (torch's own lock is a file that stays behind a killed build, and everybody then waits for ever.)
    Each attempt has a folder of its own, which becomes the one that all load from when it is whole: compilers
    that outlive a killed build write into a folder that nobody reads.

    Raises:
        InputError: it can't be built here; the message says what may be missing.
    """
    folder = extensions_folder()
    if re.search(r"\s", str(folder)):
        raise InputError(f"{folder}: torch links no extension in a path with spaces; set TORCH_EXTENSIONS_DIR")
    folder.mkdir(parents=True, exist_ok=True)
    built = folder / "built"
    with FileLock(folder / "lock"):
        if not built.exists():
            for left in folder.glob("attempt-*"):
                shutil.rmtree(left, ignore_errors=True)
            attempt = Path(tempfile.mkdtemp(prefix="attempt-", dir=folder))
            _build(attempt)
            attempt.rename(built)
            return
    for name in _PARTS:
        _load(name, built / name / f"{name}.so")


def extensions_folder() -> Path:
    """Where the extensions of these versions, built for this processor, lie."""
    versions = [platform.python_version(), *(version(package) for package in ("torch", "deepspeed"))]
    key = sha256("\n".join([*versions, platform.machine(), _processor_flags()]).encode()).hexdigest()[:12]
    return extensions_root() / f"trainyard-{key}"


def _build(folder: Path) -> None:
    """Build and load the parts in `folder`, by DeepSpeed's builders."""
    # ninja lies beside Python, where nobody looks for it unless the environment is activated
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    with _environment({"TORCH_EXTENSIONS_DIR": str(folder), "PATH": path}):
        for name in _PARTS:
            try:
                _builder(name).load(verbose=False)
            except (RuntimeError, ImportError, OSError) as error:
                raise InputError(
                    f"DeepSpeed's extension {name} can't be built here: {error}\n"
                    "It takes g++, ninja and libaio (Debian: apt-get install g++ libaio-dev)"
                ) from error


def _load(name: str, path: Path) -> None:
    """Load what was built, and have DeepSpeed's builder find it loaded."""
    builder = _builder(name)
    if path.exists() and name not in builder._loaded_ops:
        specification = importlib.util.spec_from_file_location(name, path)
        assert specification is not None
        assert specification.loader is not None
        module = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(module)
        builder._loaded_ops[name] = module
    builder.load(verbose=False)


def _builder(name: str) -> Any:
    from deepspeed.accelerator import get_accelerator  # noqa: PLC0415

    accelerator = get_accelerator()
    assert accelerator is not None
    return accelerator.create_op_builder(_PARTS[name])


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


def _processor_flags() -> str:
    """What the processor can do: extensions are built for it, and a home folder may serve several kinds."""
    information = Path("/proc/cpuinfo")
    text = information.read_text(encoding="utf-8") if information.exists() else ""
    match = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE)
    return match[1] if match else platform.processor()


_CAP_IPC_LOCK = 14


def require_lockable(amount: int) -> None:
    """Check that `amount` bytes may be locked: DeepSpeed aborts the process where they may not.

    Raises:
        MemoryError: they may not.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if limit == resource.RLIM_INFINITY or amount <= limit or _is_exempt():
        return
    raise MemoryError(
        f"swap buffers lock {amount / 2**20:,.0f} MiB of memory, and a process may lock {limit / 2**20:,.0f} MiB here "
        "(`ulimit -l`; memlock in /etc/security/limits.conf): a smaller option sub_group needs less"
    )


def _is_exempt() -> bool:
    """Whether the limit is not for this process (CAP_IPC_LOCK, such as root has)."""
    status = Path("/proc/self/status")
    match = re.search(r"^CapEff:\s*([0-9a-f]+)$", status.read_text(), re.MULTILINE) if status.exists() else None
    return bool(match) and bool(int(match[1], 16) >> _CAP_IPC_LOCK & 1)
