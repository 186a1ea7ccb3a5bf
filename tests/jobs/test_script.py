"""What a job leaves in its log, however it ends."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = """
import os, signal, sys
from trainyard.core.errors import InputError
from trainyard.jobs.script import run_job

def panic():
    import tiktoken
    from tiktoken_ext.openai_public import r50k_pat_str
    ranks = {bytes([byte]): byte for byte in range(256)}
    few = tiktoken.Encoding("few", pat_str=r50k_pat_str, mergeable_ranks=ranks, special_tokens={})
    few.encode_ordinary("x" + " " * 1_500_000 + "y")

def bug():
    [][1]

def sentence():
    raise InputError("a.csv, row 3: fix it")

def interrupt():
    os.kill(os.getpid(), signal.SIGINT)
    signal.pause()

run_job({}, lambda job: globals()[job.wildcards["act"]]())
"""


def run(folder: Path, act: str) -> tuple[int, str, str]:
    """Status, log and last words of a job."""
    (folder / "script.py").write_text(SCRIPT)
    job: dict[str, Any] = {"input": {}, "output": {}, "params": {}, "wildcards": {"act": act}, "threads": 1}
    (folder / "job.json").write_text(json.dumps(job | {"log": "logs/act.log"}))
    done = subprocess.run(
        [sys.executable, "script.py", "job.json"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, (folder / "logs/act.log").read_text(), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("act", "status", "words"),
    [
        ("panic", 1, "PanicException: "),
        ("bug", 1, "IndexError: list index out of range"),
        ("sentence", 1, "a.csv, row 3: fix it"),
        ("interrupt", -signal.SIGINT, "KeyboardInterrupt"),
    ],
)
def test_a_job_that_fails_says_why_in_its_log(tmp_path: Path, act: str, status: int, words: str) -> None:
    ended, log, said = run(tmp_path, act)
    assert ended == status
    assert words in log
    assert words in said
