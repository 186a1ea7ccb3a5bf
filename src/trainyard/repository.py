"""The repository that this code is in: where it stands, its commit, and what differs from it."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).resolve().parents[1]
ROOT = SOURCE.parent
# What can bear on a result, so that notes beside it make no tree dirty. The lock of the data records what was
# fetched: that is no change of what fetches it, and stands in the hashes of every job's inputs.
PARTS = ("Snakefile", "rules", "workflow", "config", "envs", "profiles", "report", "src", "requirements*.lock")
PATHS = (*PARTS, ":(exclude)config/data.lock.yaml")


def repository(root: Path = ROOT) -> dict[str, Any]:
    """The commit of the code under `root`, whether it is `dirty`, and if so how it `differs`.

    `differs` holds the names of the files that aren't as committed, and one hash of all their
    differences: results of the same commit and hash are from the same code. All three are None
    where nothing can be said, and `unknown` says why: `git is not installed`, or `not a git
    repository of its own`.
    """
    if shutil.which("git") is None:
        return {"commit": None, "unknown": "git is not installed", "dirty": None, "differs": None}
    top, commit = _git(root, "rev-parse", "--show-toplevel"), _git(root, "rev-parse", "HEAD")
    if top is None or commit is None or Path(os.fsdecode(top.strip())).resolve() != root.resolve():
        return {"commit": None, "unknown": "not a git repository of its own", "dirty": None, "differs": None}
    changed = _names(root, "diff", "HEAD", "--name-only", "--no-renames", "-z", "--", *PATHS)
    new = _names(root, "ls-files", "--others", "--exclude-standard", "-z", "--", *PATHS)
    differs = {"files": sorted(map(_readable, [*changed, *new])), "sha256": _sha256(root, new)}
    dirty = bool(differs["files"])
    return {"commit": commit.decode().strip(), "unknown": None, "dirty": dirty, "differs": differs if dirty else None}


def _sha256(root: Path, new: list[bytes]) -> str:
    """A hash of every difference from the commit, files that git doesn't know included."""
    digest = hashlib.sha256(
        _git(root, "diff", "HEAD", "--binary", "--no-renames", "--no-ext-diff", "--", *PATHS) or b""
    )
    for name in sorted(new):
        file = root / os.fsdecode(name)
        digest.update(b"\0" + name + b"\0" + (file.read_bytes() if file.is_file() else b""))
    return digest.hexdigest()


def _names(root: Path, *arguments: str) -> list[bytes]:
    return [name for name in (_git(root, *arguments) or b"").split(b"\0") if name]


def _readable(name: bytes) -> str:
    return name.decode(errors="replace")


def _git(root: Path, *arguments: str) -> bytes | None:
    """What git prints; None where it refuses."""
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    done = subprocess.run(["git", *arguments], cwd=root, env=environment, capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else None
