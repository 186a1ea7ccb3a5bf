"""Rule evaluate: one metric of one model."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))

import importlib

import torch

from trainyard.evaluate.write import Names
from trainyard.job import Job, run_job


def main(job: Job) -> None:
    torch.set_num_threads(job.threads)
    at = job.params["specification"]
    models, checkpoint = Path(job.input["models"]), job.wildcards["checkpoint"]
    importlib.import_module(f"trainyard.evaluate.{at['metric']}").run(
        model_folder=models if checkpoint == "pretrained" else models / checkpoint,
        rows=Path(job.input["rows"]),
        settings=at["settings"],
        output=Path(job.output["result"]),
        names=Names(
            study=job.wildcards["study"],
            run=job.wildcards["run"],
            evaluation=job.wildcards["evaluation"],
            checkpoint=checkpoint,
            dataset=at["dataset"],
            split=at["split"],
        ),
    )


run_job(globals(), main)
