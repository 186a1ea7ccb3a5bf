"""A framework that crashes under one setting is a row of the report; the call fails, and the next tries it again."""

import csv
import json
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from repository import TRAIN, Repository

from trainyard.core.failure_counts import count_failures

STUDY = {
    "title": "Crash",
    "question": "What is left of a study in which a framework crashes?",
    "grids": [
        {
            "datasets": ["tinyworld"],
            "models": ["gpt2-tiny"],
            "parallel": ["single", "low-level-zero"],
            "train": {**TRAIN, "keep_steps": []},
            "evaluate": {"perplexity": {"split": "test", "limit": 20}},
        }
    ],
    "probes": [{"parallel": ["low-level-zero"], "processes": 1, "steps": 2}],
    "measure": [
        {
            "models": ["gpt2-tiny"],
            "parallel": ["low-level-zero"],
            "batch": [2],
            "sequence_length": [16],
            "steps": 1,
            "warmup_steps": 0,
            "profiled_steps": 0,
            "launches": 1,
            "search": {"largest": 1, "steps": 1},
        }
    ],
}
REPORT = "results/crash/report"
TABLES = [f"{REPORT}/{name}" for name in ("overview.html", "comparison.html", "measure.html", "parity.html")]
TARGETS = (*TABLES, "results/crash/outcomes.txt")
SAID = "module 'torch' has no attribute 'of_yesterday'"
CRASH = f"""
def look():
    raise AttributeError({SAID!r})

look()
"""


def rows(repository: Repository, name: str) -> list[dict[str, str]]:
    with (repository.folder / REPORT / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def outcomes(repository: Repository, name: str) -> set[tuple[str, str]]:
    return {(row["parallel"], row["outcome"]) for row in rows(repository, name) if row["parallel"]}


@pytest.mark.slow
def test_a_framework_that_crashes_is_a_row_the_call_fails_and_the_next_one_tries_again(
    copy_finished: Callable[[Path], Repository], tmp_path: Path
) -> None:
    repository = copy_finished(tmp_path / "trainyard")
    repository.write_study("crash", STUDY)
    package = tmp_path / "unknown" / "colossalai"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(CRASH)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{package.parent}:$PYTHONPATH" exec "{sys.executable}" "$@"\n')
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    call = ("--config", "studies=crash", f"interpreters={{'colossalai': '{python}'}}", "--", *TARGETS)

    done = repository.snakemake(*call, check=False)
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "crash: 4 rows of 6 failed, as its report says" in said
    assert f"colossalai crashed: AttributeError: {SAID}" in said
    assert "what failed is tried again" in said

    report = repository.folder / REPORT
    assert outcomes(repository, "comparison.csv") == {("single", "finished"), ("low-level-zero", "failed")}
    assert outcomes(repository, "measure.csv") == {("low-level-zero", "failed")}
    assert outcomes(repository, "parity.csv") == {("low-level-zero", "failed")}
    assert SAID.replace("'", "&#39;") in (report / "overview.html").read_text()
    (run,) = (repository.folder / "results/crash").glob("tinyworld_*_low-level-zero-x1_*/summary.json")
    reason = json.loads(run.read_text())["reason"]
    assert reason.splitlines()[0] == f"colossalai crashed: AttributeError: {SAID}"
    assert "The last lines of logs/crash/train/" in reason
    assert reason.endswith(f"AttributeError: {SAID}")  # the end of the traceback
    repository.snakemake("--report", str(tmp_path / "report.html"), *call)
    assert (tmp_path / "report.html").stat().st_size > 10_000

    tried = repository.snakemake("-n", *call)
    again = [line for line in (tried.stdout + tried.stderr).splitlines() if line.startswith("Job ")]
    assert (
        sum("low-level-zero" in line and ("Train" in line or "Probe" in line or "Measure" in line) for line in again)
        == 4
    )
    assert not any("single" in line and "Compare" not in line for line in again)

    repository.snakemake(*call[: -len(TARGETS)], str(run.relative_to(repository.folder)))
    assert count_failures(run) == 2  # it crashed again, and that counts

    (package / "__init__.py").unlink()
    package.rmdir()
    repository.snakemake(*call)
    assert outcomes(repository, "comparison.csv") == {("single", "finished"), ("low-level-zero", "finished")}
    assert outcomes(repository, "measure.csv") == {("low-level-zero", "finished")}
    assert (repository.folder / "results/crash/outcomes.txt").read_text() == "6 finished\n"
    assert "Nothing to be done" in (idle := repository.snakemake(*call)).stdout + idle.stderr
