"""Reading the records of jobs."""

from pathlib import Path

from pydantic import BaseModel, NonNegativeInt

from trainyard.config.yaml_entries import parse
from trainyard.core.code_versions import CodeVersion
from trainyard.core.files import read_json


class Differs(BaseModel):
    """How a tree differs from its commit."""

    files: list[str]
    sha256: str


class Conda(BaseModel):
    """The file that a conda environment was made from; no name if none had its content."""

    file: str | None
    sha256: str


class Record(BaseModel):
    """What a job has left: docs/reference/run-files.md says what each is."""

    command: list[str]
    started: str
    ended: str
    commit: str | None
    unknown: str | None = None
    dirty: bool | None
    differs: Differs | None
    code: str | None
    script: str | None = None
    settings: str
    code_versions: list[CodeVersion] = []
    inputs: dict[str, str]
    outputs: dict[str, str]
    versions: dict[str, str | None]
    conda: Conda | None = None
    platform: str
    cpu: str
    gpu: str | None
    cores: NonNegativeInt
    memory: NonNegativeInt
    environment: dict[str, str]


def read_record(file: Path) -> Record:
    """Read a record.

    Raises:
        InputError: it is missing, damaged, or of an older form.
    """
    return parse(Record, read_json(file), str(file))
