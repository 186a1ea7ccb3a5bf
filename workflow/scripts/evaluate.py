"""Rule evaluate: one metric of one model."""

import sys
from pathlib import Path

# in place of this folder, where a file is called as the library evaluate is
sys.path[0] = str(Path(__file__).resolve().parents[2] / "src")

from trainyard.core.python_environment import ignore_user_packages

ignore_user_packages()

import importlib
import os

from trainyard.core.job import Job
from trainyard.evaluate.result_files import Names
from trainyard.evaluate.workers import keep_freed_memory, work_folder
from trainyard.jobs.script import run_job
from trainyard.launch.gpu_queue import acquire_gpus


def main(job: Job) -> None:
    keep_freed_memory()
    at = job.params["specification"]
    names = Names(
        study=job.wildcards["study"],
        run=job.wildcards["run"],
        evaluation=job.wildcards["evaluation"],
        checkpoint=job.wildcards["checkpoint"],
        dataset=at["dataset"],
        split=at["split"],
    )
    models, rows = Path(job.input["models"]), Path(job.input["rows"])
    model = models if names.checkpoint == "pretrained" else models / names.checkpoint
    shots = {"shots_rows": job.input["shots"]} if job.input["shots"] else {}
    processes = max(1, job.threads // at["settings"]["threads"])
    with acquire_gpus(processes if at["settings"]["device"] == "cuda" else 0) as variables:
        os.environ.update(variables)  # torch looks at them when it first asks for a GPU
        importlib.import_module("trainyard.evaluate.run").run(
            metric=at["metric"],
            model_folder=model,
            rows=rows,
            settings=at["settings"] | shots | {"processes": processes},
            output=Path(job.output["result"]),
            names=names,
            work=work_folder(names, model, [rows, *map(Path, shots.values())], job.params),
        )


run_job(globals(), main)
