"""Snakemake killed at a chosen moment, and called again: the run ends as if nothing had been."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from repository import TRAIN, Repository

from trainyard.files import read_json, read_json_lines, sha256_file

pytestmark = pytest.mark.slow

RUN = "tinyworld_gpt2-tiny_ddp-x2_fp32_seed1"
STUDY = {
    "title": "Long enough to be killed",
    "question": "Does it go on?",
    "grids": [
        {
            "datasets": ["tinyworld"],
            "models": ["gpt2-tiny"],
            "parallel": ["ddp"],
            "processes": [2],
            "train": {**TRAIN, "steps": 60, "checkpoint_every": 10, "validate_every": 20, "dropout": 0.1},
        }
    ],
}


def curve(folder: Path) -> list[tuple]:
    keys = ("step", "tokens", "loss", "gradient_norm", "learning_rate", "validation_loss")
    return [tuple(row.get(key) for key in keys) for row in read_json_lines(folder / "metrics.jsonl")]


def trainers(folder: Path) -> list[psutil.Process]:
    """The processes that work in `folder` and train."""
    found = []
    for process in psutil.process_iter(["cwd", "cmdline"]):
        if process.info["cwd"] == str(folder) and "trainyard" in " ".join(process.info["cmdline"] or []):
            found.append(process)
    return found


def test_after_kill_9_of_snakemake_the_run_continues_to_the_same_weights_and_curve(repository: Repository) -> None:
    for name in ("whole", "killed"):
        repository.write_study(name, STUDY)
    target = "results/{}/" + RUN + "/summary.json"
    repository.snakemake("--config", "studies=whole", "--", target.format("whole"))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--config", "studies=killed", "--"]
    started = subprocess.Popen(
        [*command, target.format("killed")],
        cwd=repository.folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 120
    while len(rows(repository.folder)) < 15:
        assert started.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < end, "it never got to step 15"
        time.sleep(0.05)
    started.send_signal(signal.SIGKILL)
    started.wait()
    _, alive = psutil.wait_procs(trainers(repository.folder), timeout=20)
    assert alive == [], "trainers outlived Snakemake"
    unlock = [sys.executable, "-m", "trainyard.unlock"]
    source = {**environment, "PYTHONPATH": str(repository.folder / "src")}
    subprocess.run(unlock, cwd=repository.folder, env=source, check=True, capture_output=True)
    repository.snakemake("--config", "studies=killed", "--", target.format("killed"))
    whole, killed = (repository.folder / "results" / name / RUN for name in ("whole", "killed"))
    assert read_json(killed / "summary.json")["outcome"] == "finished"
    assert curve(killed) == curve(whole)
    for model in ("best", "last"):
        weights = [sha256_file(folder / "models" / model / "model.safetensors") for folder in (killed, whole)]
        assert weights[0] == weights[1]


def rows(folder: Path) -> list[str]:
    """The steps that the killed run has written so far."""
    files = list((folder / "work" / "killed").rglob("metrics.jsonl"))
    return files[0].read_text().splitlines() if files else []
