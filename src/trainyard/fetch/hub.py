"""Files of the Hugging Face hub's repositories: the commit, then each file into the hub's own cache, checked by hash.

What travels is huggingface_hub's: it continues by Range where a connection was cut, and keeps every whole file in
its cache (`HF_HOME`), from which a later call takes it. Around it are time limits, bounded retries
(`trainyard.fetch.attempts`), and a comparison of every file with the hash that the hub states and with the data lock.
"""

import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from trainyard.core.errors import InputError
from trainyard.fetch import attempts
from trainyard.fetch.lock import DataLock, LockedFile, Request, fingerprint

SECONDS = 10.0  # for each answer of the hub, and between two pieces of a file
_AT_ONCE = 500  # paths in one question


class Repository(NamedTuple):
    """A dataset or model of the hub, at a revision."""

    kind: str
    name: str
    revision: str

    def __str__(self) -> str:
        return f"{self.name} (revision {self.revision})"


class ExpectedFile(NamedTuple):
    """What the hub says of a file: the SHA-256 of a large one, git's hash of one that git keeps itself."""

    size: int
    sha256: str | None
    git: str

    def describe_mismatch(self, path: Path, actual: LockedFile) -> str | None:
        """How a file that came isn't the one that the hub has, or None."""
        if actual.size != self.size:
            return f"came with {actual.size:,} bytes, the hub has {self.size:,}"
        if self.sha256 is not None:
            return (
                None
                if actual.sha256 == self.sha256
                else f"came with SHA-256 {actual.sha256}, the hub's is {self.sha256}"
            )
        git = _git_hash(path)
        return None if git == self.git else f"came with git hash {git}, the hub's is {self.git}"


def resolve_repository(request: Request) -> Repository:
    """The repository that holds what an entry asks for."""
    assert request.source is not None
    assert request.revision is not None
    return Repository("dataset" if request.section == "datasets" else "model", request.source, request.revision)


def list_top_files(of: Repository) -> list[str]:
    """The names of the files in a repository's first folder.

    Raises:
        InputError: the hub can't be reached, or has no such repository or revision.
    """
    tree = _ask(of, lambda api: list(api.list_repo_tree(of.name, revision=of.revision, repo_type=of.kind)))
    return [entry.path for entry in tree if hasattr(entry, "size")]


def download_locked(
    lock: DataLock,
    request: Request,
    names_at: Callable[[Repository], list[str]],
    split: str | None = None,
) -> tuple[str, dict[str, Path]]:
    """Download what an entry asks for, and record it in the lock or compare it with what is there.

    Args:
        lock: the data lock. A source that it knows is asked for by the commit and the paths recorded, so that
            nothing but the files is asked of the hub, and nothing at all where they lie in its cache.
        request: the entry.
        names_at: the paths that belong to it in the repository at a commit.
        split: the source's split that these are.

    Returns:
        the commit, and each file in the hub's cache by its path in the repository.

    Raises:
        InputError: the hub can't be reached, has no such thing, or gives other bytes than it states or were recorded.
    """
    of = resolve_repository(request)
    record = lock.record(request)
    commit = record.commit if record and record.commit else _commit(of)
    at = of._replace(revision=commit)
    recorded = record.splits.get(split) if record and split else list(record.files) if record else None
    names = names_at(at) if recorded is None else recorded
    known = record.files if record else {}
    cached = _cached_names(at, names)
    stated = _expected_files(at, [name for name in names if name not in known or name not in cached])
    files: dict[str, Path] = {}
    results: dict[str, LockedFile] = {}
    for number, name in enumerate(names, 1):
        files[name], results[name] = _download_checked(at, name, known.get(name), stated.get(name))
        logging.info("%s, %s (%d of %d): %s", of, name, number, len(names), results[name])
    lock.settle(request, results, split, commit)
    return commit, files


def prepare_client() -> None:
    """Have huggingface_hub ask with a limit of time: it sets none for some questions, and minutes for others.

    It also tells nobody how it is used, and logs no line a request (addresses of large files are signed).
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import httpx2  # noqa: PLC0415  (only where the hub is asked)
    from huggingface_hub import get_session, set_client_factory  # noqa: PLC0415

    logging.getLogger("httpx2").setLevel(logging.WARNING)
    hooks = get_session().event_hooks
    if _limit not in hooks["request"]:
        limited = {"request": [*hooks["request"], _limit], "response": [*hooks["response"], _shorten]}
        set_client_factory(lambda: httpx2.Client(event_hooks=limited, follow_redirects=True))


def _limit(request: Any) -> None:
    """Take `SECONDS` for each time-out, or what the user has set by huggingface_hub's own variables."""
    from huggingface_hub import constants  # noqa: PLC0415

    longest = max(SECONDS, constants.HF_HUB_ETAG_TIMEOUT, constants.HF_HUB_DOWNLOAD_TIMEOUT)
    set_by = request.extensions["timeout"]
    request.extensions["timeout"] = {name: min(seconds or longest, longest) for name, seconds in set_by.items()}


def _shorten(response: Any) -> None:
    """Bound the wait that an answer asks for: huggingface_hub would wait for a day."""
    header = response.headers.get("Retry-After", "")
    if header.isdecimal() and int(header) > attempts.LONGEST_WAIT:
        response.headers["Retry-After"] = f"{attempts.LONGEST_WAIT:.0f}"


def _ask(of: Repository, question: Callable[[Any], Any], what: str = "") -> Any:
    prepare_client()
    from huggingface_hub import HfApi  # noqa: PLC0415

    return attempts.retry(f"{of}{what}", lambda: question(HfApi()))


def _commit(of: Repository) -> str:
    def commit(api: Any) -> str:
        commit_hash = api.repo_info(of.name, repo_type=of.kind, revision=of.revision, timeout=SECONDS).sha
        if not isinstance(commit_hash, str):
            raise LookupError("no commit is named")
        return commit_hash

    return _ask(of, commit)


def _cached_names(at: Repository, names: Iterable[str]) -> set[str]:
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415

    return {
        name
        for name in names
        if isinstance(try_to_load_from_cache(at.name, name, revision=at.revision, repo_type=at.kind), str)
    }


def _expected_files(at: Repository, names: Sequence[str]) -> dict[str, ExpectedFile]:
    def infos(api: Any, some: list[str]) -> dict[str, ExpectedFile]:
        paths_info = api.get_paths_info(at.name, some, revision=at.revision, repo_type=at.kind)
        return {file.path: ExpectedFile(file.size, file.lfs and file.lfs.sha256, file.blob_id) for file in paths_info}

    stated: dict[str, ExpectedFile] = {}
    for first in range(0, len(names), _AT_ONCE):
        stated |= _ask(at, partial(infos, some=list(names[first : first + _AT_ONCE])))
    if absent := sorted(set(names) - set(stated)):
        raise InputError(f"{at}: the hub has no file {', '.join(absent)}")
    return stated


def _download_checked(
    at: Repository, name: str, recorded: LockedFile | None, stated: ExpectedFile | None
) -> tuple[Path, LockedFile]:
    """Download a file; one that isn't as the hub states or the lock records is downloaded once more, from anew.

    Raises:
        InputError: the hub can't be reached, or gives other bytes than it states.
    """
    problem = None
    for again in (False, True):
        path = _download(at, name, again)
        actual = fingerprint(path)
        problem = stated.describe_mismatch(path, actual) if stated else None
        if problem is None and recorded in (None, actual):
            break
        logging.warning("%s, %s: %s", at, name, problem or f"{actual}; recorded are {recorded}")
    if problem:
        raise InputError(f"{at}, {name}: {problem}; something on the way changes it. Try later, or set `mirror`")
    return path, actual


def _download(at: Repository, name: str, again: bool) -> Path:
    def download(api: Any) -> str:
        return api.hf_hub_download(
            at.name, name, repo_type=at.kind, revision=at.revision, force_download=again, etag_timeout=SECONDS
        )

    return Path(_ask(at, download, f", {name}"))


def _git_hash(path: Path) -> str:
    """Git's name for a file of this content."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode())  # noqa: S324  (git's, no protection)
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
