"""What a rule's script gets from Snakemake."""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from trainyard.core.python_environment import find_framework

CONFIG = Path("config/config.yaml")
STATE = "state"
"""The name of the output that a member of a search leaves for the next generation, for which no record answers."""
HIDDEN = "PATH"
"""In place of a folder or file of this machine, which is nobody else's."""


@dataclass(frozen=True)
class Job:
    """One job of a rule; inputs and outputs by their names in the rule, as paths from the working directory."""

    input: dict[str, Any]
    output: dict[str, Any]
    params: dict[str, Any]
    wildcards: dict[str, str]
    threads: int
    log: str
    mirror: str | None = None
    interpreters: dict[str, str] = field(default_factory=dict)
    resume: str | None = None
    nodes: int = 1
    slurm_job: str | None = None
    command: list[str] = field(default_factory=list)
    script: str = ""

    @classmethod
    def from_snakemake(cls, snakemake: Any, script: str) -> "Job":
        """Take what Snakemake hands to a script, a file of workflow/scripts."""
        return cls(
            input=_plain(dict(snakemake.input.items())),
            output=_plain(dict(snakemake.output.items())),
            params=_plain(dict(snakemake.params.items())),
            wildcards=_plain(dict(snakemake.wildcards.items())),
            threads=snakemake.threads,
            log=str(snakemake.log[0]),
            mirror=snakemake.config.get("mirror") or None,
            interpreters=_plain(snakemake.config.get("interpreters") or {}),
            resume=snakemake.config.get("resume"),
            nodes=snakemake.resources.get("nodes", 1),
            # in an allocation of the user's own SLURM's number stands for all jobs
            slurm_job=os.environ.get("SLURM_JOB_ID") if snakemake.resources.get("submitted") else None,
            command=_command(_plain(dict(snakemake.config)), str(snakemake.output[0])),
            script=Path(script).name,
        )

    @property
    def launches(self) -> bool:
        """Whether it starts processes of a parallel setting, and does nothing itself."""
        return "parallel" in (self.params.get("specification") or {})

    @property
    def specification(self) -> dict[str, Any]:
        """What a training is told, with its data where Snakemake has it.

        A workflow that imports this one may have put the folders under a prefix.
        """
        specification = self.params["specification"]
        named = [name for name, folder in specification["data"].items() if folder]
        return specification | {"data": specification["data"] | dict(zip(named, self.input["folders"], strict=True))}

    @property
    def python(self) -> str:
        """What its processes run with: the interpreter that is named for their framework, or this one."""
        packages = self.params["specification"]["parallel"]["packages"] if self.launches else []
        own = self.interpreters.get(find_framework(packages) or "")
        return str(Path(own).expanduser()) if own else sys.executable

    @property
    def reads(self) -> list[str]:
        """The files and folders that it reads, sorted: of a run's models the checkpoint that it is about."""
        checkpoint = self.wildcards.get("checkpoint", "")
        paths = {Path(name) for name in _flatten(self.input)}
        return sorted((path / checkpoint if (path / checkpoint).is_dir() else path).as_posix() for path in paths)

    @property
    def outputs(self) -> list[str]:
        """The files and folders that it writes, sorted, without what goes when it has been used."""
        return sorted(set(_flatten({name: path for name, path in self.output.items() if name != STATE})))

    @property
    def state(self) -> list[str]:
        """The folder that it leaves for jobs that go on from it, if it does."""
        return _flatten({STATE: self.output.get(STATE)})


def config_arguments(config: Mapping[str, Any]) -> list[str]:
    """What follows `--config` besides the studies, `KEY=VALUE`: whatever config/config.yaml says otherwise.

    Args:
        config: as Snakemake has it.
    """
    written = yaml.safe_load(CONFIG.read_text(encoding="utf-8")) if CONFIG.is_file() else {}
    changed = {key: value for key, value in config.items() if key != "studies" and value != written.get(key)}
    if changed.get("mirror"):
        changed["mirror"] = HIDDEN
    if changed.get("interpreters"):
        changed["interpreters"] = dict.fromkeys(changed["interpreters"], HIDDEN)
    return [f"{key}={_word(value)}" for key, value in sorted(changed.items())]


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _command(config: Mapping[str, Any], output: str) -> list[str]:
    """What asks Snakemake for the job that makes `output`."""
    studies = config["studies"]
    names = studies.replace(",", " ").split() if isinstance(studies, str) else studies
    return [
        "snakemake",
        "--cores",
        "all",
        "--config",
        f"studies={','.join(names)}",
        *config_arguments(config),
        "--",
        output,
    ]


def _flatten(named: dict[str, Any]) -> list[str]:
    """The paths of a rule's inputs or outputs, without their names."""
    lists = (value if isinstance(value, list) else [value] for value in named.values())
    return [path for paths in lists for path in paths if path]


def _plain(value: Any) -> Any:
    """Plain lists, dicts and strings in place of Snakemake's own kinds."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, str):
        return str(value)
    if isinstance(value, list | tuple) or hasattr(value, "_names"):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
