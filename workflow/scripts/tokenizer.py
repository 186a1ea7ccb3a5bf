"""Rule tokenizer: a tokenizer's folder, from its catalogue entry."""

import sys
from pathlib import Path

# in place of this folder, whose tokenize.py and statistics.py would shadow Python's own
sys.path[0] = str(Path(__file__).resolve().parents[2] / "src")

from trainyard.core.python_environment import ignore_user_packages

ignore_user_packages()

from trainyard.config.catalogue import Tokenizer
from trainyard.config.yaml_entries import parse
from trainyard.core.job import Job
from trainyard.data.tokenizers import make_tokenizer
from trainyard.fetch.lock import PATH
from trainyard.jobs.script import run_job


def main(job: Job) -> None:
    make_tokenizer(
        name=job.wildcards["tokenizer"],
        entry=parse(Tokenizer, job.params["entry"], "config/tokenizers.yaml"),
        output=Path(job.output["folder"]),
        mirror=Path(job.mirror) if job.mirror else None,
        lock=PATH,
        rows=Path(job.input["rows"]) if job.input["rows"] else None,
        pretrained=Path(job.input["model"]) if job.input["model"] else None,
    )


run_job(globals(), main)
