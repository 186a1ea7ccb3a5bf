"""Rules train and probe: one run from its specification."""

import sys
from pathlib import Path

# in place of this folder, whose tokenize.py and statistics.py would shadow Python's own
sys.path[0] = str(Path(__file__).resolve().parents[2] / "src")

from trainyard.core.python_environment import ignore_user_packages

ignore_user_packages()

from trainyard.core.job import Job
from trainyard.jobs.script import run_job
from trainyard.train.job import train


def main(job: Job) -> None:
    specification = job.params["specification"]
    # a workflow that imports this one may have put the folders under a prefix: Snakemake knows where they are
    named = [name for name, folder in specification["data"].items() if folder]
    data = dict(zip(named, job.input["folders"], strict=True))
    train(
        specification | {"data": specification["data"] | data},
        output=Path(job.output["summary"]).parent,
        work=Path("work"),
        log=Path(job.log),
        code=job.params["code"],
        unsupported=job.params["unsupported"],
        python=job.python,
        nodes=job.nodes,
        slurm_job=job.slurm_job,
        resume_anyway=job.resume == "anyway",
    )


run_job(globals(), main)
