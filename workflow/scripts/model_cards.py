"""Rule model_cards: the cards of a study's models, with scores and energy."""

import sys
from pathlib import Path

# in place of this folder, whose tokenize.py and statistics.py would shadow Python's own
sys.path[0] = str(Path(__file__).resolve().parents[2] / "src")

from trainyard.core.python_environment import ignore_user_packages

ignore_user_packages()

from trainyard.core.job import Job
from trainyard.jobs.script import run_job
from trainyard.report.inputs import collect_arguments
from trainyard.report.pages.model_cards import write_cards


def main(job: Job) -> None:
    write_cards(**collect_arguments(job.input, job.params), output=Path(job.output["cards"]))


run_job(globals(), main)
