"""A rank that writes what it is, and then, told to, fails or waits for one that has: `forked_driver.py FOLDER fail`."""

import os
import sys
import time
from pathlib import Path

from trainyard.core.files import write_json
from trainyard.parallel import process_group

if __name__ == "__main__":
    rank = process_group.rank()
    seen = {
        "pid": os.getpid(),
        "order": hash("a set's"),
        "world": process_group.world_size(),
        "arguments": sys.argv[1:],
    }
    write_json(Path(sys.argv[1]) / f"{rank}.json", seen)
    process_group.start("cpu")
    process_group.barrier()
    if "fail" in sys.argv and rank == 1:
        raise RuntimeError("one of two fails")
    if "fail" in sys.argv:
        time.sleep(600)
    print(f"rank {rank} ends")
