"""Rule statistics: rows, words and tokens of a tokenized dataset."""

import sys
from pathlib import Path

# in place of this folder, whose tokenize.py and statistics.py would shadow Python's own
sys.path[0] = str(Path(__file__).resolve().parents[2] / "src")

from trainyard.core.python_environment import ignore_user_packages

ignore_user_packages()

from trainyard.core.job import Job
from trainyard.data.statistics import statistics
from trainyard.jobs.script import run_job


def main(job: Job) -> None:
    statistics(
        title=job.params["title"],
        licence=job.params["licence"],
        folders={Path(folder).name: Path(folder) for folder in job.input["splits"]},
        output=Path(job.output["statistics"]),
    )


run_job(globals(), main)
