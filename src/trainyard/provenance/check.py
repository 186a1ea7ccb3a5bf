"""Whether what is on the disk is what was recorded, and what would be made today."""

import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

from trainyard.core.code_versions import with_commits
from trainyard.core.errors import InputError
from trainyard.core.files import sha256_file, sha256_path
from trainyard.core.job import Job
from trainyard.provenance.jobs import StudyJobs
from trainyard.provenance.packages import other_packages
from trainyard.provenance.read import Record, read_record
from trainyard.provenance.record import list_written, record_file, script_hash, settings_of

State = Literal[
    "missing", "unrecorded", "changed", "stale", "settings", "code", "resumed", "versions", "dirty", "extra"
]
STATES: tuple[State, ...] = get_args(State)
REMEDIES: dict[State, str] = {
    "missing": "run the study again to make what is missing",
    "unrecorded": "made before jobs left records, or by hand: delete it and run the study again",
    "changed": "delete the file and run the study again",
    "stale": "run the study again; where Snakemake sees no change, delete the file first",
    "settings": "run the study again, or take the change of the configuration back",
    "code": "run the study again, or check out the commit that the record names",
    "resumed": "keep it, or delete the file and run the study again: then today's code alone trains it",
    "versions": "install the versions of the lock, take changes of envs/ back, or run the study again under these",
    "dirty": "commit or take back the changes, delete the file and run the study again",
    "extra": "delete it: no job of the study makes it",
}
NAMED = 3  # files that a sentence names

Hash = Callable[[Path], str]
Found = tuple[State, str, str]  # of which file, and what


@dataclass(frozen=True)
class Problem:
    """Something that doesn't hold: of which kind of job, in which file, and what was found."""

    state: State
    kind: str
    file: str
    found: str

    def __str__(self) -> str:
        return f"{self.state}: {self.file}: {self.found}"


@dataclass(frozen=True)
class Verdict:
    """What became of a study.

    Attributes:
        jobs: how many jobs there are of each kind.
        hold: how many of those have no problem.
        problems: in the order of the rules; what no job makes comes last.
        unknown: why records name no commit, and how many don't for that reason.
    """

    study: str
    jobs: Mapping[str, int]
    hold: Mapping[str, int]
    problems: list[Problem]
    unknown: Mapping[str, int]


def check(planned: StudyJobs, hashed: Callable[[Path], None] = lambda _: None) -> Verdict:
    """Hash every input and output of a study once, and compare.

    Args:
        planned: the jobs of the study.
        hashed: called with each file that was hashed.

    Raises:
        InputError: an interpreter that the configuration names can't be asked.
    """
    known: dict[Path, str] = {}

    def sha256(path: Path) -> str:
        if path not in known:
            known[path] = sha256_file(path)
            hashed(path)
        return known[path]

    jobs, hold, unknown, problems = Counter[str](), Counter[str](), Counter[str](), list[Problem]()
    for each in planned.jobs:
        actual = [Problem(state, each.kind, file, text) for state, file, text in _check_job(each.job, sha256)]
        problems += actual
        jobs[each.kind] += 1
        hold[each.kind] += not actual
        if reason := _explain_unknown_commit(each.job):
            unknown[reason] += 1
    problems += [Problem("extra", "", path.as_posix(), "no job of the study makes it") for path in _find_extra(planned)]
    return Verdict(planned.study, jobs, hold, problems, unknown)


def _check_job(job: Job, sha256: Hash) -> Iterator[Found]:
    """What doesn't hold of a job."""
    first = job.outputs[0]
    file = record_file(job)
    if not [output for output in job.outputs if Path(output) != file and Path(output).exists()]:
        yield "missing", first, _explain_not_made(job)
        return
    if not file.is_file():
        yield "unrecorded", first, f"its origin is unknown: there is no {file}"
        return
    try:
        record = read_record(file)
    except InputError as error:
        yield "unrecorded", first, f"its record can't be read: {str(error).splitlines()[0]}"
        return
    yield from _check_outputs(job, record, sha256)
    for text in _check_inputs(job, record, sha256):
        yield "stale", first, text
    for state, text in _check_circumstances(job, record):
        yield state, first, text


def _check_outputs(job: Job, record: Record, sha256: Hash) -> Iterator[Found]:
    for name, expected in record.outputs.items():
        path = Path(name)
        if not path.is_file():
            yield "missing", name, f"was made ({record.ended}), and is gone"
        elif (actual := sha256(path)) != expected:
            changed = datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")
            hashes = f"recorded {_short(expected)} ({record.ended}), found {_short(actual)} (written {changed})"
            yield "changed", name, hashes
    for path in list_written(job):
        if path.as_posix() not in record.outputs:
            yield "extra", path.as_posix(), "was not there when the job ended"
    for output in job.outputs:
        if not Path(output).exists() and not any(Path(name).is_relative_to(output) for name in record.outputs):
            yield "missing", output, _explain_not_made(job)


def _explain_unknown_commit(job: Job) -> str | None:
    """Why a job's record names no commit; None where it names one, or can't be read."""
    with suppress(InputError):
        record = read_record(record_file(job))
        return (record.unknown or "its record doesn't say why") if record.commit is None else None
    return None


def _explain_not_made(job: Job) -> str:
    return f"not made yet: {shlex.join(job.command)}"


def _check_inputs(job: Job, record: Record, sha256: Hash) -> Iterator[str]:
    """What it reads that isn't what it was made from; what is gone is missing where it was made."""
    recorded, reads = record.inputs, job.reads
    for name in sorted({*recorded, *reads}):
        if not Path(name).exists():
            continue
        if name not in recorded:
            yield f"made without {name}, which it reads today"
        elif name not in reads:
            yield f"made from {name}, which it doesn't read today"
        elif (actual := sha256_path(name, sha256)) != recorded[name]:
            yield f"made from another {name}: then {_short(recorded[name])}, now {_short(actual)}"


def _check_circumstances(job: Job, record: Record) -> Iterator[tuple[State, str]]:
    """What else a result depends on: settings, code, packages, and whether the code was committed."""
    if record.settings != settings_of(job):
        yield "settings", "made with other settings than the configuration gives it today"
    if record.code != job.params.get("code"):
        yield "code", f"made by other code than today's: {record.code}, today {job.params.get('code')}"
    if record.script != script_hash(job):
        yield "code", f"made by another workflow/scripts/{job.script} than today's"
    if mixed := with_commits(record.code_versions):
        yield "resumed", mixed
    if others := other_packages(record, job.python):
        yield "versions", others
    if differs := record.differs:
        yield (
            "dirty",
            f"made with changes that were not committed ({_short(differs.sha256)}): {_list_names(differs.files)}",
        )


def _find_extra(planned: StudyJobs) -> Iterator[Path]:
    """Files and folders of a study's results that none of its jobs makes."""
    known = {Path(output) for each in planned.jobs for output in (*each.job.outputs, *each.job.state)}
    known |= {record_file(each.job) for each in planned.jobs}
    above = {folder for path in known for folder in path.parents}

    def walk(folder: Path) -> Iterator[Path]:
        for path in sorted(folder.iterdir()):
            if path in above:
                yield from walk(path)
            elif path not in known and not path.name.startswith("."):
                yield path

    results = Path("results", planned.study)
    return walk(results) if results.is_dir() else iter(())


def _short(sha256: str) -> str:
    return sha256[:12]


def _list_names(files: list[str]) -> str:
    more = len(files) - NAMED
    return ", ".join(files[:NAMED]) + (f" and {more} more" if more > 0 else "")
