"""Rule peak: the most that this machine computes."""

import sys
from pathlib import Path

# in place of this folder, whose tokenize.py and statistics.py would shadow Python's own
sys.path[0] = str(Path(__file__).resolve().parents[2] / "src")

from trainyard.core.python_environment import ignore_user_packages

ignore_user_packages()

from trainyard.core.job import Job
from trainyard.jobs.script import run_job
from trainyard.measure.peak import measure


def main(job: Job) -> None:
    measure(job.params["specification"], output=Path(job.output["peak"]), log=Path(job.log))


run_job(globals(), main)
