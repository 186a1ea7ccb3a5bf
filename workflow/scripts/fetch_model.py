"""Rule fetch_model: pretrained weights as a transformers folder."""

import sys
from pathlib import Path

# in place of this folder, whose tokenize.py and statistics.py would shadow Python's own
sys.path[0] = str(Path(__file__).resolve().parents[2] / "src")

from trainyard.core.python_environment import ignore_user_packages

ignore_user_packages()

from trainyard.config.catalogue import Model
from trainyard.core.job import Job
from trainyard.fetch.lock import PATH
from trainyard.jobs.script import run_job
from trainyard.models.pretrained import fetch_model


def main(job: Job) -> None:
    fetch_model(
        name=job.wildcards["model"],
        entry=Model.model_validate(job.params["model"]),
        output=Path(job.output["folder"]),
        mirror=Path(job.mirror) if job.mirror else None,
        lock=PATH,
    )


run_job(globals(), main)
