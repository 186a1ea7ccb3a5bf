"""Whether a result was made with the packages of today."""

from pathlib import Path

from packaging.version import Version

from trainyard.core.files import sha256_file
from trainyard.core.python_environment import package_versions, read_pins
from trainyard.provenance.read import Record


def other_packages(record: Record, python: str) -> str | None:
    """What a job was made with that would be another today, in words, or None.

    The packages of a conda environment are those that its file pins, whatever is installed here.
    Of Python the last digit doesn't count, of a version what follows its `+`: torch's builds for
    CPUs and for GPUs have the same version.

    Args:
        record: what the job has left.
        python: the interpreter that it would run with today, outside conda.

    Raises:
        InputError: the interpreter can't be asked.
    """
    names = [name for name in record.versions if name != "python"]
    if record.conda is None:
        now, where = package_versions(names, python), "here"
    elif record.conda.file is None or not Path(record.conda.file).is_file():
        return f"made in a conda environment ({record.conda.sha256[:12]}) of which no file is there"
    elif (actual := sha256_file(record.conda.file)) != record.conda.sha256:
        return f"made in the environment of another {record.conda.file}: {record.conda.sha256[:12]}, now {actual[:12]}"
    else:
        now, where = read_pins(Path(record.conda.file)), f"in {record.conda.file}"
    others = [
        f"{name} {then} ({now.get(name)} {where})"
        for name, then in record.versions.items()
        if _counts(name, then) != _counts(name, now.get(name))
    ]
    return f"made with {', '.join(others)}" if others else None


def _counts(name: str, version: str | None) -> tuple[int, ...] | Version | None:
    """What of a version counts."""
    if version is None:
        return None
    return Version(version).release[:2] if name == "python" else Version(Version(version).public)
