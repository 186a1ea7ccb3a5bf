"""What a script is handed by Snakemake."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from snakemake.cli import parse_config

from trainyard.core.job import _command, config_arguments

WRITTEN = {"studies": ["demo"], "mirror": None, "device": "auto", "interpreters": {}, "prices": None}


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory with a config/config.yaml."""
    monkeypatch.chdir(tmp_path)
    Path("config").mkdir()
    Path("config/config.yaml").write_text(yaml.safe_dump(WRITTEN))


@pytest.mark.parametrize("studies", ["demo,small", "demo small", ["demo", "small"]])
def test_the_recorded_command_asks_for_the_job_again(studies: str | list[str]) -> None:
    assert _command(WRITTEN | {"studies": studies}, "results/demo/r/spec.json") == [
        *("snakemake", "--cores", "all", "--config", "studies=demo,small"),
        *("--", "results/demo/r/spec.json"),
    ]


def test_what_config_yaml_says_otherwise_is_in_the_command() -> None:
    changed: dict[str, Any] = {"device": "cuda", "processes_per_node": 4, "prices": {"currency": "USD", "cuda": 2.5}}
    words = _command(WRITTEN | changed, "results/demo/r/spec.json")
    assert words[4:-2] == [
        *("studies=demo", "device=cuda", 'prices={"currency":"USD","cuda":2.5}', "processes_per_node=4"),
    ]
    read = parse_config(words[4:-2])
    assert read | {"prices": {"currency": "USD", "cuda": float(read["prices"]["cuda"])}} == changed | {
        "studies": "demo"
    }


def test_folders_of_a_machine_stand_in_no_command() -> None:
    changed = {"mirror": "/home/me/mirror", "interpreters": {"colossalai": "/home/me/bin/python"}}
    assert config_arguments(WRITTEN | changed) == ['interpreters={"colossalai":"PATH"}', "mirror=PATH"]
