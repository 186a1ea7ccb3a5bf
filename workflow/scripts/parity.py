"""Rule parity: a probe against its reference."""

import sys
from pathlib import Path

# in place of this folder, whose tokenize.py and statistics.py would shadow Python's own
sys.path[0] = str(Path(__file__).resolve().parents[2] / "src")

from trainyard.core.python_environment import ignore_user_packages

ignore_user_packages()

from trainyard.core.job import Job
from trainyard.jobs.script import run_job
from trainyard.measure.parity import compare


def main(job: Job) -> None:
    compare(
        probe=Path(job.input["probe"]).parent,
        reference=Path(job.input["reference"]).parent,
        output=Path(job.output["parity"]),
    )


run_job(globals(), main)
