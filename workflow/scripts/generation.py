"""Rule generation: who trains from whose state in a generation."""

import sys
from pathlib import Path

# in place of this folder, whose tokenize.py and statistics.py would shadow Python's own
sys.path[0] = str(Path(__file__).resolve().parents[2] / "src")

from trainyard.core.python_environment import ignore_user_packages

ignore_user_packages()

from trainyard.core.job import Job
from trainyard.jobs.script import run_job
from trainyard.tune.select import select


def main(job: Job) -> None:
    previous = job.input["previous"]
    summaries = [Path(file) for file in job.input["summaries"]]
    select(job.params["search"], Path(previous) if previous else None, summaries, Path(job.output["generation"]))


run_job(globals(), main)
