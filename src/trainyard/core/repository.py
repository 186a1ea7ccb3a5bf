"""The repository that this code is in: where it is, its commit, and what differs from it."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from trainyard.core.files import sha256_file

SOURCE = Path(__file__).resolve().parents[2]
ROOT = SOURCE.parent
# What can bear on a result, so that notes beside it make no tree dirty. The lock of the data records what was
# fetched: that is no change of what fetches it, and is in the hashes of every job's inputs.
PARTS = ("Snakefile", "rules", "workflow", "config", "envs", "profiles", "report", "src", "requirements*.lock")
PATHS = (*PARTS, ":(exclude)config/data.lock.yaml")
NOT_OF_ITS_OWN = "not a git repository of its own"
_NO_COMMIT = ("not a git repository", "ambiguous argument 'HEAD'")  # the second where nothing has been committed yet
_ELSEWHERE = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")  # as in a hook of another repository


class GitError(Exception):
    """Git refuses to answer; the message is the first line of what it says, and the remedy where it names one."""


def describe_repository(root: Path = ROOT) -> dict[str, Any]:
    """The commit of the code under `root`, whether it is `dirty`, and if so how it `differs`.

    `differs` holds the names of the files that aren't as committed, and one hash of all their
    differences: results of the same commit and hash are from the same code. All three are None
    where nothing can be said, and `unknown` says why: `git is not installed`, `not a git
    repository of its own`, or git's own words.
    """
    try:
        commit = _commit(root)
        entries = _git(root, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--", *PATHS)
    except GitError as error:
        return {"commit": None, "unknown": str(error), "dirty": None, "differs": None}
    names = sorted(entry[len("XY ") :] for entry in entries.split(b"\0") if entry)
    files = [name.decode(errors="replace") for name in names]
    differs = {"files": files, "sha256": _sha256(root, names)} if names else None
    return {"commit": commit, "unknown": None, "dirty": bool(names), "differs": differs}


def explain_unknown_commit(root: Path = ROOT) -> str | None:
    """Why the commit of the code under `root` can't be told, with the remedy where git names one; None where it can."""
    try:
        _commit(root)
    except GitError as error:
        return str(error)
    return None


def _commit(root: Path) -> str:
    """The commit that is checked out.

    Raises:
        GitError: there is none, or git won't tell.
    """
    if shutil.which("git") is None:
        raise GitError("git is not installed")
    top = _git(root, "rev-parse", "--show-toplevel")
    if Path(os.fsdecode(top.strip())).resolve() != root.resolve():
        raise GitError(NOT_OF_ITS_OWN)
    return _git(root, "rev-parse", "HEAD").decode().strip()


def _sha256(root: Path, names: list[bytes]) -> str:
    """A hash of what is in these files; some may be gone."""
    digest = hashlib.sha256()
    for name in names:
        file = root / os.fsdecode(name)
        if file.is_symlink():
            content = b"link " + os.fsencode(file.readlink())
        elif file.is_file():
            content = (b"program " if os.access(file, os.X_OK) else b"file ") + sha256_file(file).encode()
        else:
            content = b"gone"
        digest.update(name + b"\0" + content + b"\0")
    return digest.hexdigest()


def _git(root: Path, *arguments: str) -> bytes:
    """What git prints of the repository in `root`, whatever repository the environment names.

    Raises:
        GitError: it refuses.
    """
    environment = {name: value for name, value in os.environ.items() if name not in _ELSEWHERE}
    environment |= {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    done = subprocess.run(["git", *arguments], cwd=root, env=environment, capture_output=True, check=False)
    if done.returncode:
        raise GitError(_refusal(root, done.stderr.decode(errors="replace")))
    return done.stdout


def _refusal(root: Path, message: str) -> str:
    """Why git refuses, without the names of this machine's folders."""
    first = (message.splitlines() or ["git printed no message"])[0].replace(str(root.resolve()), ".")
    if any(words in first for words in _NO_COMMIT):
        return NOT_OF_ITS_OWN
    return (
        f'{first}; to trust it: git config --global --add safe.directory "$PWD"'
        if "safe.directory" in message
        else first
    )
