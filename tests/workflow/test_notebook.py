"""The notebook for Colab: its cells in their order, on a CPU, with a small study."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from repository import ROOT, TRAIN, Repository

NOTEBOOK = ROOT / "docs" / "notebooks" / "t4.ipynb"
# tests/conda and .ci/run install; tests/tools/test_gpu_check.py has the check on a CPU
ELSEWHERE = {"install", "gpu"}
STUDY = {
    "title": "Small",
    "question": "Does every cell run?",
    "grids": [{"datasets": ["tinyworld"], "models": ["gpt2-tiny"], "train": TRAIN}],
}


def commit(folder: Path) -> None:
    """Make a folder what can be cloned."""
    author = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "--quiet"], ["add", "--all"], [*author, "commit", "--quiet", "--message", "all"]):
        subprocess.run(["git", *words], cwd=folder, check=True)


def run_cell(source: str, folder: Path, variables: dict[str, str]) -> Any:
    """What a cell says: of `%%bash` its output, of Python the value of its last line."""
    magic, _, rest = source.partition("\n")
    if magic == "%%bash":
        done = subprocess.run(
            ["bash"],
            input=rest,
            cwd=folder,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        return done.stdout + done.stderr
    *lines, last = ast.parse(source).body
    assert isinstance(last, ast.Expr)
    names: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, value in variables.items():
            patch.setenv(name, value)
        exec(compile(ast.Module(lines, []), str(NOTEBOOK), "exec"), names)
        return eval(compile(ast.Expression(last.value), str(NOTEBOOK), "eval"), names)


@pytest.mark.slow
def test_the_notebook_runs_cell_by_cell_as_far_as_a_cpu_goes(tmp_path: Path) -> None:
    origin = Repository(tmp_path / "origin").folder
    (origin / "config" / "studies" / "small.yaml").write_text(yaml.safe_dump(STUDY))
    commit(origin)
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    settings, *others = ["".join(cell["source"]) for cell in cells if not ELSEWHERE & {*cell["metadata"]["tags"]}]
    given = {"REPOSITORY": str(origin), "STUDY": "small", "DEVICE": "cpu"}
    assert [line.partition("=")[0] for line in settings.splitlines()] == [f"%env {name}" for name in given]
    clone, dry_run, run, table = others
    run_cell(clone, tmp_path, given)
    (tmp_path / "trainyard" / ".venv").symlink_to(Path(sys.executable).parents[1])
    assert "comparison_table" in run_cell(dry_run, tmp_path, given)
    run_cell(run, tmp_path, given)
    assert (tmp_path / "trainyard" / "report.html").stat().st_size > 100_000
    (row,) = run_cell(table, tmp_path, given).to_dict("records")
    assert (row["model"], row["outcome"]) == ("gpt2-tiny", "finished")


def test_its_studies_and_pages_are_there() -> None:
    text = NOTEBOOK.read_text()
    assert "%env STUDY=opt-plugins-t4" in text
    assert (ROOT / "config" / "studies" / "opt-plugins-t4.yaml").is_file()
    assert "(../how-to/use-a-t4.md)" in text
