"""A process of a launch that does what its first argument says, and leaves its number in the second's folder."""

import os
import signal
import sys
import time
from pathlib import Path

from trainyard.core.errors import InputError
from trainyard.launch.gpu_queue import FILE


def main() -> None:
    deed, folder = sys.argv[1], Path(sys.argv[2])
    rank = int(os.environ.get("RANK", "0"))
    (folder / f"pid-{rank}").write_text(str(os.getpid()))
    if deed == "sleep":
        time.sleep(120)
    elif deed == "killed-in-a-sum":
        from trainyard.parallel import process_group  # noqa: PLC0415 (as below)

        process_group.start("cpu")
        process_group.barrier()
        if rank == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        process_group.barrier()
    elif rank != 0:
        time.sleep(1 if deed == "print" else 120)
    elif deed == "print":
        print("paths:", os.environ["PYTHONPATH"], "threads:", os.environ["OMP_NUM_THREADS"], "here:", "" in sys.path)
    elif deed == "gpus":
        open_files = [file.resolve() for file in Path("/proc/self/fd").iterdir()]
        print(
            "gpus:", os.environ.get("CUDA_VISIBLE_DEVICES"), "held:", Path(os.environ.get(FILE, "none")) in open_files
        )
    elif deed == "memory":
        import torch  # noqa: PLC0415 (a worker that only sleeps is to start at once)

        torch.empty(2**50)
    elif deed == "input":
        raise InputError("data.txt, row 7: empty; delete it")
    elif deed in ("killed", "crash"):
        os.kill(os.getpid(), signal.SIGKILL if deed == "killed" else signal.SIGSEGV)
    elif deed == "exit":
        sys.exit(3)
    elif deed == "bug-that-names-signals":
        print("Signal 9 (SIGKILL), Signal 15 (SIGTERM), status -9")
        raise KeyError("a bug")
    else:
        raise KeyError("a bug")


if __name__ == "__main__":
    main()
