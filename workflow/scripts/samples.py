"""Rule samples: what the models of a study wrote."""

import sys
from pathlib import Path

# in place of this folder, whose tokenize.py and statistics.py would shadow Python's own
sys.path[0] = str(Path(__file__).resolve().parents[2] / "src")

from trainyard.core.python_environment import ignore_user_packages

ignore_user_packages()

from trainyard.core.job import Job
from trainyard.jobs.script import run_job
from trainyard.report.inputs import collect_arguments
from trainyard.report.pages.samples import write


def main(job: Job) -> None:
    write(**collect_arguments(job.input, job.params), output=Path(job.output["page"]))


run_job(globals(), main)
