"""Rules that draw: one figure of a study."""

import sys
from pathlib import Path

# in place of this folder, whose tokenize.py and statistics.py would shadow Python's own
sys.path[0] = str(Path(__file__).resolve().parents[2] / "src")

from trainyard.core.python_environment import see_own_packages_alone

see_own_packages_alone()

import importlib

from trainyard.core.job import Job
from trainyard.jobs.script import run_job
from trainyard.report.inputs import arguments


def main(job: Job) -> None:
    draw = importlib.import_module(f"trainyard.report.pages.{job.params['module']}").draw
    draw(**arguments(job.input, job.params), **job.params["options"], output=Path(job.output["figure"]))


run_job(globals(), main)
