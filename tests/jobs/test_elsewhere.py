"""Each command, called in a folder that no study runs in, says where to call it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trainyard.core.repository import SOURCE


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["provenance.verify", "demo"],
            "error: {} has no folder config: call this in the folder that the study ran in",
        ),
        (
            ["provenance.archive", "demo"],
            "error: {} has no folder config: call this in the folder that the study ran in",
        ),
        (["jobs.unlock"], "Snakemake has not run in {}: call this in the folder that the study runs in."),
        (
            ["tools.terminal_table", "results/demo/report/comparison.csv"],
            "{}/results/demo/report/comparison.csv: no such file; "
            "run the study first, or call this in the folder that it ran in",
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_in_another_folder_it_says_where_to_call_it(arguments: list[str], sentence: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"trainyard.{arguments[0]}", *arguments[1:]],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode != 0
    assert done.stderr == f"{sentence.format(tmp_path)}\n"
    assert not list(tmp_path.iterdir())
