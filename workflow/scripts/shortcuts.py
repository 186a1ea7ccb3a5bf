"""Rule shortcuts: baselines that answer without understanding."""

import sys
from pathlib import Path

# in place of this folder, where files are called as modules of Python are
sys.path[0] = str(Path(__file__).resolve().parents[2] / "src")

from trainyard.core.python_environment import ignore_user_packages

ignore_user_packages()

from trainyard.core.job import Job
from trainyard.evaluate.shortcuts import score_shortcuts
from trainyard.jobs.script import run_job


def main(job: Job) -> None:
    score_shortcuts(
        items=Path(job.input["choices"]),
        corpus=Path(job.input["corpus"]) if job.input["corpus"] else None,
        output=Path(job.output["shortcuts"]),
        dataset=job.wildcards["dataset"],
        **job.params["scored"],
    )


run_job(globals(), main)
