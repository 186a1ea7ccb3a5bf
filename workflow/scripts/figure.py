"""Rules that draw: one figure of a study."""

import sys
from pathlib import Path

# in place of this folder, whose tokenize.py and statistics.py would shadow Python's own
sys.path[0] = str(Path(__file__).resolve().parents[2] / "src")

from trainyard.core.python_environment import ignore_user_packages

ignore_user_packages()

import importlib

from trainyard.core.job import Job
from trainyard.jobs.script import run_job
from trainyard.report.inputs import collect_arguments


def main(job: Job) -> None:
    draw = importlib.import_module(f"trainyard.report.pages.{job.params['module']}").draw
    draw(**collect_arguments(job.input, job.params), **job.params["options"], output=Path(job.output["figure"]))


run_job(globals(), main)
