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
from trainyard.report.statistics.forecast import Forecast, Pair, forecast

PART = 0.75


def try_parts(pairs: Sequence[Pair], target: Pair, ladders: int) -> None:
    """Print how often the intervals of such ladders hold the target's loss, and how far off they are."""
    random = np.random.default_rng(0)
    found = []
    for _ in range(ladders):
        drawn = random.choice(len(pairs), round(PART * len(pairs)), replace=False)
        found.append(forecast([pairs[place] for place in sorted(drawn)], target.parameters, target.tokens))
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
        raw, summary = read_json(file), read_json(file.with_name("summary.json"))
        pairs = [Pair(each["parameters"], each["tokens"], each["loss"]) for each in raw["budgets"]]
        try_parts(pairs, Pair(raw["parameters"], raw["tokens"], summary["validation_loss"]), arguments.ladders)
        largest = max(pairs, key=lambda pair: (pair.parameters, pair.tokens))
        cheaper = [pair for pair in pairs if pair.parameters < largest.parameters]
        try_parts(cheaper, largest, arguments.ladders)


if __name__ == "__main__":
    main()
