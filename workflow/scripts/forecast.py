"""Rule forecast: the loss of a run before it is trained."""

import sys
from pathlib import Path

# in place of this folder, whose tokenize.py and statistics.py would shadow Python's own
sys.path[0] = str(Path(__file__).resolve().parents[2] / "src")

from trainyard.core.python_environment import ignore_user_packages

ignore_user_packages()

from trainyard.core.job import Job
from trainyard.jobs.script import run_job
from trainyard.report.statistics.forecast import make_forecast


def main(job: Job) -> None:
    summaries = [Path(file) for file in job.input["summaries"]]
    make_forecast(job.params["target"], summaries, Path(job.output["forecast"]))


run_job(globals(), main)
