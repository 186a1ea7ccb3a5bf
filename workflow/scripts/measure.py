"""Rule measure: speed and memory of one cell."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))

from trainyard.measure.throughput import measure

from trainyard.job import Job, run_job


def main(job: Job) -> None:
    measure(
        job.params["specification"],
        output=Path(job.output["measured"]),
        log=Path(job.log),
        unsupported=job.params["unsupported"],
    )


run_job(globals(), main)
