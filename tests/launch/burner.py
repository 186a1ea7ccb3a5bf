"""A process of a launch that computes for 1.5 s of CPU time and says how much it took."""

import os
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    while time.process_time() < 1.5:
        sum(range(10_000))
    Path(sys.argv[1], f"burnt-{os.environ.get('RANK', '0')}").write_text(str(time.process_time()))
