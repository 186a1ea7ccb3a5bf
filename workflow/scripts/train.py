"""Rules train, probe, member and last_member: one training from its specification."""

import sys
from pathlib import Path

# in place of this folder, whose tokenize.py and statistics.py would shadow Python's own
sys.path[0] = str(Path(__file__).resolve().parents[2] / "src")

from trainyard.core.python_environment import ignore_user_packages

ignore_user_packages()

from trainyard.core.job import Job
from trainyard.jobs.script import run_job
from trainyard.train.job import train, write_ended
from trainyard.tune.member import resolve


def main(job: Job) -> None:
    specification, output = job.specification, Path(job.output["summary"]).parent
    if "generation" in job.input:
        specification, ended = resolve(specification, Path(job.input["generation"]), job.input["states"])
        if ended is not None:
            write_ended(specification, output, ended)
            return
    train(
        specification,
        output=output,
        work=Path("work"),
        log=Path(job.log),
        code=job.params["code"],
        unsupported=job.params["unsupported"],
        python=job.python,
        nodes=job.nodes,
        slurm_job=job.slurm_job,
        resume_anyway=job.resume == "anyway",
        forecast=next(map(Path, job.input.get("forecast", [])), None),
    )


run_job(globals(), main)
