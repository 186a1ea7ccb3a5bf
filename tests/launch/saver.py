"""A process of a launch that takes two seconds to save when it is told to end, as training does."""

import os
import signal
import sys
import threading
import time
from pathlib import Path


def main() -> None:
    folder, rank = Path(sys.argv[2]), os.environ.get("RANK", "0")
    asked = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    (folder / f"pid-{rank}").write_text(str(os.getpid()))
    while not asked.is_set():
        time.sleep(0.05)
    time.sleep(2)
    (folder / f"saved-{rank}").touch()


if __name__ == "__main__":
    main()
