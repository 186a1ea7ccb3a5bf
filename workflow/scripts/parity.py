"""Rule parity: a probe against its references."""

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
    same = job.input["same_precision"]
    compare(
        probe=Path(job.input["probe"]).parent,
        reference=Path(job.input["reference"]).parent,
        same_precision=Path(same).parent if same else None,
        output=Path(job.output["parity"]),
    )


run_job(globals(), main)
