"""Rule outcomes: how the rows of a study ended."""

import sys
from pathlib import Path

# in place of this folder, whose tokenize.py and statistics.py would shadow Python's own
sys.path[0] = str(Path(__file__).resolve().parents[2] / "src")

from trainyard.core.python_environment import ignore_user_packages

ignore_user_packages()

from trainyard.core.job import Job
from trainyard.jobs.script import run_job
from trainyard.report.results.outcomes import check


def main(job: Job) -> None:
    rows = [Path(row) for row in job.input["rows"]]
    check(job.wildcards["study"], rows=rows, output=Path(job.output["outcomes"]))


run_job(globals(), main)
