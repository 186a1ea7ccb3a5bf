"""What this machine has: its devices, and the versions of what computes on them.

`python -m trainyard.tools.gpu_check.facts` prints them. It is a process of its own, since one that has asked
CUDA for its devices keeps some of their memory as long as it lives.
"""

import json
import os
import re
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from trainyard.core.errors import InputError
from trainyard.core.python_environment import package_versions
from trainyard.hardware.cpu import processor_name
from trainyard.hardware.gpus import ask_nvidia_smi
from trainyard.plan.capabilities import Device
from trainyard.tools.gpu_check.ranks import environment

PACKAGES = ("torch", "transformers", "numpy", "safetensors", "deepspeed", "colossalai")
_DRIVER = Path("/proc/driver/nvidia/version")
_SECONDS = 180


@dataclass(frozen=True)
class Facts:
    """A machine.

    Attributes:
        device: what the cases run on.
        names: of its GPUs, or of its CPU.
        memory: of the smallest GPU, in bytes; None for a CPU.
        in_use: memory of a GPU that something else holds, in bytes, the largest of all; None if nobody tells.
        capability: CUDA's compute capability of the first GPU, such as "7.5".
        bf16: whether the device itself computes in bf16.
        versions: of Python, of packages, of CUDA and of the driver; None: not there.
    """

    device: Device
    names: list[str]
    memory: int | None
    in_use: int | None
    capability: str | None
    bf16: bool
    versions: dict[str, str | None]


def find(device: Device | None) -> Facts:
    """Ask a process of its own.

    Args:
        device: what to run on; None for GPUs, which must be there.

    Raises:
        InputError: a package is missing, or there is no GPU and none was given up.
    """
    done = subprocess.run(
        [sys.executable, "-m", "trainyard.tools.gpu_check.facts", device or "cuda"],
        env=environment(threads=1),
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS,
    )
    if done.returncode:
        message = done.stderr.strip().splitlines() or [f"it exited with status {done.returncode}"]
        raise InputError(f"{sys.executable} can't look at its devices: {message[-1]}")
    facts = Facts(**json.loads(done.stdout.splitlines()[-1]))
    if not facts.names:
        raise InputError(_no_gpu(facts))
    return facts


def _no_gpu(facts: Facts) -> str:
    why = "no NVIDIA driver runs"
    if facts.versions["driver"]:
        build = f"a build for CUDA {facts.versions['cuda']}" if facts.versions["cuda"] else "a CPU-only build"
        why = f"an NVIDIA driver runs ({facts.versions['driver']}), but torch {facts.versions['torch']}, {build}, "
        why += "sees no GPU (is CUDA_VISIBLE_DEVICES set, or another torch needed?)"
    return (
        f"found no NVIDIA GPU here: {why}.\n"
        "--device cpu (make gpu-check ARGS='--device cpu') tries the same cases on the CPU, in two processes and on "
        "tiny models: it shows that the check itself works, and says nothing of a GPU"
    )


def look(device: Device) -> Facts:
    """This machine's, in this process."""
    in_use = _memory_in_use()  # before this process takes some itself
    import torch  # noqa: PLC0415
    import transformers  # noqa: F401, PLC0415

    installed = package_versions(PACKAGES) | {
        "torch": str(torch.__version__),
        "cuda": torch.version.cuda,
        "driver": _driver(),
    }
    if device == "cpu":
        return Facts("cpu", [processor_name()], None, None, None, True, installed)
    numbers = range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
    memory = [torch.cuda.get_device_properties(number).total_memory for number in numbers]
    bf16 = bool(numbers) and torch.cuda.is_bf16_supported(including_emulation=False)
    return Facts(
        "cuda",
        [torch.cuda.get_device_name(number) for number in numbers],
        min(memory, default=None),
        in_use,
        ".".join(str(part) for part in torch.cuda.get_device_capability(0)) if numbers else None,
        bf16,
        installed,
    )


def _memory_in_use() -> int | None:
    """The most memory that is taken of any GPU that this process may use, in bytes, as nvidia-smi tells."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(
            [*query, *(["-i", visible] if visible else [])], capture_output=True, text=True, check=True, timeout=60
        )
        return max(int(line) for line in done.stdout.split()) * 2**20
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def _driver() -> str | None:
    """The version of NVIDIA's driver."""
    if not _DRIVER.exists():  # as in WSL
        return next(iter(ask_nvidia_smi("--query-gpu=driver_version", "--format=csv,noheader").split()), None)
    match = re.search(r"\s(\d+\.\d+(?:\.\d+)?)\s", _DRIVER.read_text())
    return match[1] if match else "unknown"


if __name__ == "__main__":
    print(json.dumps(asdict(look("cpu" if sys.argv[1] == "cpu" else "cuda"))))
