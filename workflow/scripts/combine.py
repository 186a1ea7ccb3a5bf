"""Rule combine: a cell from its launches."""

import sys
from pathlib import Path

# in place of this folder, whose tokenize.py and statistics.py would shadow Python's own
sys.path[0] = str(Path(__file__).resolve().parents[2] / "src")

from trainyard.core.python_environment import ignore_user_packages

ignore_user_packages()

from trainyard.core.job import Job
from trainyard.jobs.script import run_job
from trainyard.measure.combine import combine


def main(job: Job) -> None:
    combine(
        [Path(path) for path in job.input["launches"]],
        Path(job.input["peak"]) if job.input["peak"] else None,
        output=Path(job.output["measured"]),
    )


run_job(globals(), main)
