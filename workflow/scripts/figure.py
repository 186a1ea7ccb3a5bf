"""Rules that draw: one figure of a study."""

import sys
from pathlib import Path

# in place of this folder, whose tokenize.py and statistics.py would stand in for Python's own
sys.path[0] = str(Path(__file__).resolve().parents[2] / "src")

from trainyard.interpreter import see_own_packages_alone

see_own_packages_alone()

import importlib

from trainyard.job import Job
from trainyard.report.arguments import arguments
from trainyard.script import run_job


def main(job: Job) -> None:
    draw = importlib.import_module(f"trainyard.report.{job.params['module']}").draw
    draw(**arguments(job.input, job.params), **job.params["options"], output=Path(job.output["figure"]))


run_job(globals(), main)
