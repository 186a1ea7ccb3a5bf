"""Rule tokenize: the rows of a split as tokens."""

import sys
from pathlib import Path

# in place of this folder, whose tokenize.py and statistics.py would shadow Python's own
sys.path[0] = str(Path(__file__).resolve().parents[2] / "src")

from trainyard.core.python_environment import ignore_user_packages

ignore_user_packages()

from trainyard.core.job import Job
from trainyard.data.tokenize import tokenize
from trainyard.jobs.script import run_job


def main(job: Job) -> None:
    tokenize(
        rows=Path(job.input["rows"]),
        tokenizer=Path(job.input["tokenizer"]),
        output=Path(job.output["folder"]),
        prefix=job.params["prefix"],
        threads=job.threads,
    )


run_job(globals(), main)
