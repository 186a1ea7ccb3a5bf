"""How a rule's script runs: from Snakemake, or by hand from the job file that every run of it leaves.

`python workflow/scripts/train.py logs/demo/train/RUN.json` does again what the rule did.
"""

import logging
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from trainyard.core.errors import InputError
from trainyard.core.files import read_json, write_json
from trainyard.core.job import Job
from trainyard.launch.process_tree import end_with_snakemake
from trainyard.provenance.record import record_job


def run_job(scope: dict[str, Any], function: Callable[[Job], None]) -> None:
    """Run a script's one function, with its log beside the terminal; an InputError ends it with a sentence.

    Started by Snakemake, it ends with that, by whatever signal.
    """
    if "snakemake" in scope:
        job = Job.from_snakemake(scope["snakemake"], scope["__file__"])
        write_json(Path(job.log).with_suffix(".json"), asdict(job))
    elif len(sys.argv) == 2:
        job = Job(**{**read_json(sys.argv[1]), "slurm_job": None})
    else:
        sys.exit(f"usage: python {sys.argv[0]} JOB.json   (each job leaves its file beside its log, under logs/)")
    Path(job.log).parent.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(message)s",
        handlers=[logging.FileHandler(job.log, mode="a", encoding="utf-8")],
    )
    try:
        with end_with_snakemake() if "snakemake" in scope else nullcontext():
            record_job(job, function)
    except InputError as error:
        logging.error("%s", error)
        print(f"error: {error}\n(log: {job.log})", file=sys.stderr)
        sys.exit(1)
    except BaseException:  # a panic of Rust, and an end by a signal, are no Exception
        logging.exception("failed")
        raise
