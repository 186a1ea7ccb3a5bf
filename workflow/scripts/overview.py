"""Rule overview: the first page of a study."""

import sys
from pathlib import Path

# in place of this folder, whose tokenize.py and statistics.py would shadow Python's own
sys.path[0] = str(Path(__file__).resolve().parents[2] / "src")

from trainyard.core.python_environment import ignore_user_packages

ignore_user_packages()

from trainyard.core.job import Job
from trainyard.jobs.script import run_job
from trainyard.report.inputs import collect_arguments
from trainyard.report.pages.overview import write


def main(job: Job) -> None:
    figures = {title: Path(path) for title, path in zip(job.params["titles"], job.input["figures"], strict=True)}
    write(**collect_arguments(job.input, job.params), figures=figures, output=Path(job.output["page"]))


run_job(globals(), main)
