"""How often a row has failed because its framework crashed: noted beside its result, so that the next call tries again.

Snakemake runs a job again when a parameter has changed. The number of failures is one: it has risen when the row
failed, and stays when it ends well. The file is no declared output, which Snakemake would delete before the job.
"""

from pathlib import Path

from trainyard.core.text import utc_now

FAILED = "failed"
"""The outcome of a row whose framework crashed."""


def failures_file(result: Path) -> Path:
    """The file beside a result: a run's summary.json, or the file of a measured cell."""
    return result.with_name(f"{result.stem}.failures.log")


def count_failures(result: Path) -> int:
    """How often it has failed."""
    file = failures_file(result)
    return len(file.read_text(encoding="utf-8").splitlines()) if file.exists() else 0


def record_failure(result: Path, reason: str) -> None:
    """Write down that it failed: when, and the first line of the reason."""
    file = failures_file(result)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as log:
        log.write(f"{utc_now()} {' '.join(reason.partition(chr(10))[0].split())}\n")
