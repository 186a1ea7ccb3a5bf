"""`python -m trainyard.tools.gpu_check`: see docs/how-to/check-a-gpu-machine.md."""

import argparse
import sys
import time
from pathlib import Path

from trainyard import NEWEST_PYTHON, OLDEST_PYTHON, PYTHONS
from trainyard.core.errors import InputError

NEEDED = (
    "It takes torch 2.11 or newer, transformers 5, numpy, safetensors and pydantic, with what these require; "
    "PYTHON=/path/to/python names an interpreter that has them, PYTHONPATH a folder that has what it lacks, such as "
    "pip install --target=FOLDER pydantic makes"
)


def main() -> int:
    """Check this machine; 0 where all is as it should be, 1 where not, 2 where it can't be checked."""
    started = time.monotonic()
    if not OLDEST_PYTHON <= sys.version_info[:2] <= NEWEST_PYTHON:
        print(f"Trainyard needs {PYTHONS}, not {sys.version.split()[0]}: PYTHON=/path/to/python3.13")
        return 2
    parser = argparse.ArgumentParser(prog="gpu-check", description="Parity, memory and speed on this machine's GPUs.")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="cpu tries the check itself")
    parser.add_argument("--cases", choices=["all", "tiny"], default="all", help="tiny: two settings, tiny models")
    parser.add_argument("--seconds", type=float, default=470, help="stop after so long (default: 470)")
    parser.add_argument(
        "--output", type=Path, default=Path("docs/benchmarks"), help="folder (default: docs/benchmarks)"
    )
    parser.add_argument("--fresh", action="store_true", help="forget what earlier calls have finished")
    given = parser.parse_args()
    try:
        from trainyard.tools.gpu_check import check, facts  # noqa: PLC0415
    except ModuleNotFoundError as error:
        print(f"gpu-check: {sys.executable}: {error}. {NEEDED}", file=sys.stderr)
        return 2
    try:
        machine, deadline = facts.find(given.device), started + given.seconds
        return check.Check(machine, given.cases, deadline, given.output, given.fresh).run()
    except InputError as error:
        print(f"gpu-check: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
