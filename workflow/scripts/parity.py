"""Rule parity: a probe against its reference."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))

from trainyard.measure.parity import compare

from trainyard.job import Job, run_job


def main(job: Job) -> None:
    compare(
        probe=Path(job.input["probe"]).parent,
        reference=Path(job.input["reference"]).parent,
        output=Path(job.output["parity"]),
    )


run_job(globals(), main)
