"""What befalls a study after it was run."""

import os
import subprocess
import sys
from pathlib import Path

STATISTICS = "results/data/tinyworld/bpe-512/statistics.json"


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the code of a copy of the repository, in its folder."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(folder / "src")}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def flip(path: Path) -> None:
    """Change one byte, and leave the time as it is, as a bad disk does."""
    before, content = path.stat(), bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def commit(folder: Path) -> str:
    """Commit everything in a folder, which becomes a repository of its own; the commit."""
    for arguments in (("init", "--quiet"), ("add", "."), ("commit", "--quiet", "--message", "All")):
        identity = ("-c", "user.name=A Name", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *identity, *arguments], cwd=folder, check=True)
    found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=True)
    return found.stdout.strip()


def count_dirty(folder: Path) -> None:
    """Count the tokens again, by hand, with an uncommitted change that has nothing to do with it."""
    commit(folder)
    with (folder / "src/trainyard/core/text.py").open("a") as file:
        file.write("# a note\n")
    done = python(folder, "workflow/scripts/statistics.py", "logs/data/statistics/tinyworld/bpe-512.json")
    assert done.returncode == 0, done.stderr
