"""The record of a job: what it was asked, with which code, of which inputs to which outputs, where and when.

Every job leaves one, whatever its rule: a run its provenance.json, any other a file in
`results/{study}/provenance/` (or `results/data/`, `results/models/`, `results/peaks/`)
under its log's name.
"""

import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from trainyard.core.errors import InputError
from trainyard.core.files import list_files, read_json, sha256_file, sha256_json, sha256_path, write_json
from trainyard.core.job import Job
from trainyard.core.python_environment import TRAINING, package_versions
from trainyard.core.repository import ROOT, describe_repository
from trainyard.core.text import utc_now
from trainyard.provenance.machine import conda_environment, describe_hardware, environment_variables, loaded_packages

# what the machine can do is no setting: the packages and the hardware that a job had are beside it
NO_SETTINGS = ("code", "capabilities", "failures", "unsupported")


def record_file(job: Job) -> Path:
    """Where a job's record is; beside the log, where that is no log of the workflow."""
    if "provenance" in job.output:
        return Path(job.output["provenance"])
    log = Path(job.log)
    if log.parts[0] != "logs" or len(log.parts) < 3:
        return log.with_suffix(".record.json")
    owner, *rest = log.parts[1:]
    return Path("results", owner, "provenance", *rest).with_suffix(".json")


def record_job(job: Job, function: Callable[[Job], None]) -> None:
    """Do a job and, if it ends well, write its record.

    Raises:
        InputError: something that it reads isn't there.
    """
    start = _begin(job)
    function(job)
    write_json(record_file(job), _end(job, start))


def _begin(job: Job) -> dict[str, Any]:
    """What is known before the job does anything."""
    for name in job.reads:
        if not Path(name).exists():
            raise InputError(f"{name}: no such file or folder; let Snakemake make it: {shlex.join(job.command)}")
    return {
        "command": job.command,
        "started": utc_now(),
        **describe_repository(),
        "code": job.params.get("code"),
        "script": script_hash(job),
        "settings": settings_of(job),
        "inputs": {name: sha256_path(name) for name in job.reads},
    }


def _end(job: Job, start: Mapping[str, Any]) -> dict[str, Any]:
    """The whole record, when its outputs are there."""
    python, launches = job.python, job.launches
    return {
        **start,
        "ended": utc_now(),
        "versions": package_versions(TRAINING if launches else loaded_packages(), python),
        "conda": conda_environment(ROOT / "envs") if python == sys.executable else None,
        **describe_hardware(_device(job.params.get("specification") or {})),
        "environment": environment_variables(),
        "code_versions": _code_versions(job),
        "outputs": {file.as_posix(): sha256_file(file) for file in list_written(job)},
    }


def script_hash(job: Job) -> str | None:
    """The SHA-256 of the rule's script as it is today; None for a job that has none."""
    return sha256_file(ROOT / "workflow" / "scripts" / job.script) if job.script else None


def settings_of(job: Job) -> str:
    """A hash of what the job was asked to do, without the code that does it."""
    return sha256_json({name: value for name, value in job.params.items() if name not in NO_SETTINGS})


def list_written(job: Job) -> Iterator[Path]:
    """Every file of a job's outputs but its record, those in folders too."""
    for path in map(Path, job.outputs):
        if path != record_file(job):
            yield from list_files(path) if path.is_dir() else [path] if path.is_file() else []


def _code_versions(job: Job) -> list[dict[str, Any]]:
    """The versions of the code that trained a run, as its summary has them; none of any other job."""
    return read_json(job.output["summary"]).get("code_versions", []) if "summary" in job.output else []


def _device(specification: Mapping[str, Any]) -> str | None:
    """What a run, a measurement or an evaluation computes on."""
    return specification.get("device") or specification.get("settings", {}).get("device")
