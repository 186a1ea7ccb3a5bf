"""Rules that draw: one figure of a study."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))

import importlib

from trainyard.job import Job, run_job
from trainyard.report.arguments import arguments


def main(job: Job) -> None:
    draw = importlib.import_module(f"trainyard.report.{job.params['module']}").draw
    draw(**arguments(job.input, job.params), **job.params["options"], output=Path(job.output["figure"]))


run_job(globals(), main)
