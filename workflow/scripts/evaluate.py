"""Rule evaluate: one metric of one model."""

import sys
from pathlib import Path

# in place of this folder, where a file is called as the library evaluate is
sys.path[0] = str(Path(__file__).resolve().parents[2] / "src")

import importlib
import os

from trainyard.evaluate.write import Names
from trainyard.job import Job, run_job
from trainyard.parallel.slots import taken


def main(job: Job) -> None:
    at = job.params["specification"]
    shots = {"shots_rows": job.input["shots"]} if job.input["shots"] else {}
    models, checkpoint = Path(job.input["models"]), job.wildcards["checkpoint"]
    with taken(int(at["settings"]["device"] == "cuda")) as variables:
        os.environ.update(variables)  # torch looks at them when it first asks for a GPU
        importlib.import_module(f"trainyard.evaluate.{at['metric']}").run(
            model_folder=models if checkpoint == "pretrained" else models / checkpoint,
            rows=Path(job.input["rows"]),
            settings=at["settings"] | shots,
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
