"""Hash a study's inputs and outputs again, and say what has changed since they were made.

`python -m trainyard.provenance.verify STUDY`, as `make verify` does; it writes nothing. With results of
a run that took `--config KEY=VALUE`, give it the same.
"""

import argparse
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import yaml
from tqdm import tqdm

from trainyard.core.errors import InputError
from trainyard.provenance.check import REMEDIES, STATES, State, Verdict, check
from trainyard.provenance.jobs import StudyJobs, study_jobs
from trainyard.provenance.record import list_written


def verify(planned: StudyJobs) -> Verdict:
    """Check a study, with a bar on a terminal."""
    total = sum(file.stat().st_size for each in planned.jobs for file in list_written(each.job))
    with tqdm(total=total, unit="B", unit_scale=True, desc="hashed", leave=False, disable=None) as bar:

        def hashed(path: Path) -> None:
            bar.update(path.stat().st_size)

        return check(planned, hashed)


def format_table(verdict: Verdict) -> str:
    """Jobs of each kind, how many of them hold, and how many problems of each sort there are."""
    counts = Counter((problem.kind, problem.state) for problem in verdict.problems)
    by_state = Counter(problem.state for problem in verdict.problems)
    states = [state for state in STATES if by_state[state]]
    rows: list[tuple[object, ...]] = [("", "jobs", "hold", *states)]
    for kind, jobs in verdict.jobs.items():
        rows.append((kind, jobs, verdict.hold[kind], *(counts[kind, state] or "" for state in states)))
    if "extra" in states and counts["", "extra"]:
        rows.append(("of no job", "", "", *(counts["", state] or "" for state in states)))
    rows.append(("all", sum(verdict.jobs.values()), sum(verdict.hold.values()), *(by_state[state] for state in states)))
    texts = [[str(cell) for cell in row] for row in rows]
    first, *widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    return "\n".join("  ".join([name.ljust(first), *map(str.rjust, cells, widths)]) for name, *cells in texts)


def parse_settings(pairs: list[str]) -> dict[str, Any]:
    """What `--config KEY=VALUE ...` changes.

    Raises:
        InputError: an argument is no such pair.
    """
    for pair in pairs:
        if "=" not in pair:
            raise InputError(f"--config {pair}: should be KEY=VALUE")
    return {key: yaml.safe_load(value) for key, _, value in (pair.partition("=") for pair in pairs)}


def main() -> int:
    """Verify the study of the first argument; 1 if something doesn't hold."""
    parser = argparse.ArgumentParser(prog="python -m trainyard.provenance.verify", description=__doc__)
    parser.add_argument("study", help="its name, as in config/studies")
    parser.add_argument("--config", nargs="+", default=[], metavar="KEY=VALUE", help="as the study was run with")
    arguments = parser.parse_args()
    began = time.monotonic()
    try:
        verdict = verify(study_jobs(arguments.study, parse_settings(arguments.config)))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(*verdict.problems, sep="\n", end="\n\n" if verdict.problems else "")
    print(format_table(verdict))
    states: list[State] = [state for state in STATES if any(problem.state == state for problem in verdict.problems)]
    print("", *(f"- {state}: {REMEDIES[state]}" for state in states), sep="\n")
    for reason, jobs in verdict.unknown.items():
        print(f"commit of {jobs} jobs unknown ({reason}): whether their code was committed is unknown")
    everything = "all checks that could be made passed" if verdict.unknown else "all checks passed"
    holds = f"{len(verdict.problems)} checks failed" if verdict.problems else everything
    print(f"study {verdict.study}: {holds} ({time.monotonic() - began:.0f} s)")
    return 1 if verdict.problems else 0


if __name__ == "__main__":
    sys.exit(main())
