"""How often forecasts from parts of a ladder hold.

`PYTHONPATH=src .venv/bin/python benchmarks/forecasts.py results/ladder`

Of a finished study with a forecast run: ladders of three quarters of the runs, drawn at random, forecast it, and the
largest run of the largest size of the ladder, whose size is then left out of what is drawn from.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trainyard.core.files import read_json
from trainyard.report.statistics.forecast import Forecast, Trained, forecast

PART = 0.75


def try_parts(runs: Sequence[Trained], target: Trained, ladders: int) -> None:
    """Print how often the intervals of such ladders hold the target's loss, and how far off they are."""
    random = np.random.default_rng(0)
    found = []
    for _ in range(ladders):
        drawn = random.choice(len(runs), round(PART * len(runs)), replace=False)
        found.append(forecast([runs[place] for place in sorted(drawn)], target.parameters, target.tokens))
    made = [each for each in found if isinstance(each, Forecast)]
    held = sum(each.low <= target.loss <= each.high for each in made)
    errors = [100 * abs(target.loss / each.loss - 1) for each in made]
    print(
        f"{target.parameters:,} parameters, {target.tokens:,} tokens, {target.loss:.4f} nats: {held} of {len(made)} "
        f"intervals hold it; off by {float(np.median(errors)):.2f} % in the median, {max(errors):.2f} % at most"
        f"{f'; {ladders - len(made)} ladders determine no law' if len(made) < ladders else ''}"
    )


def main() -> None:
    """Try parts of the ladder of a study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="the folder of its results")
    parser.add_argument("--ladders", type=int, default=20)
    arguments = parser.parse_args()
    for file in sorted(arguments.study.glob("*/forecast.json")):
        summary = read_json(file.with_name("summary.json"))
        raw = summary["forecast"]
        runs = [Trained(each["parameters"], each["tokens"], each["loss"]) for each in raw["runs"]]
        try_parts(runs, Trained(raw["parameters"], raw["tokens"], summary["validation_loss"]), arguments.ladders)
        largest = max(runs, key=lambda run: (run.parameters, run.tokens))
        cheaper = [run for run in runs if run.parameters < largest.parameters]
        try_parts(cheaper, largest, arguments.ladders)


if __name__ == "__main__":
    main()
