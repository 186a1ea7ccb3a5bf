"""Rule winner: the best of a search as a run."""

import sys
from pathlib import Path

# in place of this folder, whose tokenize.py and statistics.py would shadow Python's own
sys.path[0] = str(Path(__file__).resolve().parents[2] / "src")

from trainyard.core.python_environment import ignore_user_packages

ignore_user_packages()

from trainyard.core.job import Job
from trainyard.jobs.script import run_job
from trainyard.tune.winner import write_winner


def main(job: Job) -> None:
    files = {name: [Path(file) for file in job.input[name]] for name in ("generations", "summaries")}
    output = Path(job.output["summary"]).parent
    write_winner(job.specification, files["generations"], files["summaries"], output)


run_job(globals(), main)
