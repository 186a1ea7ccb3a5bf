"""How an archive says that its study is repeated, and what it came from."""

from pathlib import Path
from typing import Any

import pytest

from trainyard.provenance.jobs import StudyJobs
from trainyard.provenance.read import Record
from trainyard.provenance.readme import _commit, _repeat


def record(**changes: Any) -> Record:
    values: dict[str, Any] = dict.fromkeys(("started", "ended", "settings", "platform", "cpu"), "")
    values |= {key: {} for key in ("inputs", "outputs", "versions", "environment")}
    values |= dict.fromkeys(("commit", "dirty", "differs", "code", "gpu"), None)
    return Record.model_validate(values | {"command": [], "cores": 1, "memory": 1, **changes})


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory with a config/config.yaml."""
    monkeypatch.chdir(tmp_path)
    Path("config").mkdir()
    Path("config/config.yaml").write_text("studies: [demo]\ndevice: auto\nmirror: null\n")


def test_a_study_that_ran_as_config_yaml_says_is_repeated_without_more() -> None:
    text = _repeat(StudyJobs("s", [], {"studies": "s", "device": "auto", "mirror": None}), [record()])
    assert ".venv/bin/snakemake --cores all --config studies=s\nmake verify STUDY=s\n```" in text
    assert "PATH" not in text


def test_what_the_command_line_changed_and_conda_are_part_of_repeating_it() -> None:
    used = {"file": "envs/train.yaml", "sha256": "0" * 64}
    config = {"studies": "s", "device": "cuda", "mirror": "/home/me/hub"}
    text = _repeat(StudyJobs("s", [], config), [record(), record(conda=used)])
    assert "snakemake --cores all --use-conda --config studies=s device=cuda mirror=PATH\n" in text
    assert "make verify STUDY=s CONFIG='device=cuda mirror=PATH'\n" in text
    assert "PATH stands for a place on the machine where it was run." in text
    assert "/home/me" not in text


def test_a_commit_that_is_unknown_has_its_reason() -> None:
    assert _commit(record(unknown="git is not installed")) == "unknown: git is not installed"
