"""Rule fetch_model: pretrained weights as a transformers folder."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))

from trainyard.models.pretrained import fetch_model

from trainyard.config.catalogue import Model
from trainyard.job import Job, run_job


def main(job: Job) -> None:
    fetch_model(
        name=job.wildcards["model"],
        entry=Model.model_validate(job.params["model"]),
        output=Path(job.output["folder"]),
        mirror=Path(job.mirror) if job.mirror else None,
    )


run_job(globals(), main)
