"""Rule measure: speed and memory of one launch of a cell."""

import sys
from pathlib import Path

# in place of this folder, whose tokenize.py and statistics.py would shadow Python's own
sys.path[0] = str(Path(__file__).resolve().parents[2] / "src")

from trainyard.core.python_environment import ignore_user_packages

ignore_user_packages()

from trainyard.core.job import Job
from trainyard.jobs.script import run_job
from trainyard.measure.throughput import measure


def main(job: Job) -> None:
    measure(
        job.params["specification"],
        output=Path(job.output["measured"]),
        log=Path(job.log),
        unsupported=job.params["unsupported"],
        python=job.python,
        nodes=job.nodes,
    )


run_job(globals(), main)
