"""Rule download: the rows of one split."""

import sys
from pathlib import Path

# in place of this folder, whose tokenize.py and statistics.py would shadow Python's own
sys.path[0] = str(Path(__file__).resolve().parents[2] / "src")

from trainyard.core.python_environment import ignore_user_packages

ignore_user_packages()

from tqdm import tqdm

from trainyard.config.catalogue import Dataset
from trainyard.core.job import Job
from trainyard.data.download import download
from trainyard.fetch.lock import PATH
from trainyard.jobs.script import run_job


def main(job: Job) -> None:
    name, split = job.wildcards["dataset"], job.wildcards["split"]
    with tqdm(desc=f"{name}, {split}", unit=" rows", dynamic_ncols=True, leave=False, disable=None) as bar:
        download(
            name=name,
            dataset=Dataset.model_validate(job.params["dataset"]),
            split=split,
            output=Path(job.output["rows"]),
            mirror_folder=Path(job.mirror) if job.mirror else None,
            progress=lambda rows: bar.update(rows - bar.n),
            lock=PATH,
        )


run_job(globals(), main)
