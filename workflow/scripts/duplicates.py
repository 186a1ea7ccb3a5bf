"""Rule duplicates: held-out rows that occur in the training rows too."""

import sys
from pathlib import Path

# in place of this folder, whose tokenize.py and statistics.py would shadow Python's own
sys.path[0] = str(Path(__file__).resolve().parents[2] / "src")

from trainyard.core.python_environment import ignore_user_packages

ignore_user_packages()

from trainyard.core.job import Job
from trainyard.data.duplicates import count_duplicates
from trainyard.jobs.script import run_job


def main(job: Job) -> None:
    count_duplicates(
        training=Path(job.input["training"]),
        held_out=Path(job.input["held_out"]),
        output=Path(job.output["counts"]),
        trained_on=job.wildcards["training"],
        dataset=job.wildcards["dataset"],
        split=job.wildcards["split"],
    )


run_job(globals(), main)
