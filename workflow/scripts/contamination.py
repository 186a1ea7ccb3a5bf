"""Rule contamination: the items whose n-grams are in a training text."""

import sys
from pathlib import Path

# in place of this folder, where files are called as modules of Python are
sys.path[0] = str(Path(__file__).resolve().parents[2] / "src")

from trainyard.core.python_environment import ignore_user_packages

ignore_user_packages()

from trainyard.core.job import Job
from trainyard.evaluate.contamination import find_contamination
from trainyard.jobs.script import run_job


def main(job: Job) -> None:
    find_contamination(
        training=Path(job.input["training"]),
        items=Path(job.input["evaluated"]),
        output=Path(job.output["overlap"]),
        trained_on=job.wildcards["training"],
        dataset=job.wildcards["dataset"],
        split=job.wildcards["split"],
        ngram=job.params["ngram"],
        threads=job.threads,
    )


run_job(globals(), main)
