"""The comparison of a study as a table for the terminal: `python -m trainyard.tools.terminal_table comparison.csv`."""

import csv
import sys
from collections.abc import Sequence
from pathlib import Path

from trainyard.core.errors import InputError
from trainyard.core.text import align_columns
from trainyard.metrics import METRICS
from trainyard.report.pages.cells import SEEDS
from trainyard.report.render.format import (
    BOUNDED,
    PERCENT,
    SHARE,
    SHORT_TITLES,
    decimal,
    probe_noun,
    scientific,
    size,
    truncate,
)
from trainyard.report.results.probes import describe_tolerance, nearest_probe
from trainyard.report.statistics.seeds import LOSSES

WIDEST = 22
WORDS = ("model", "dataset", "parallel", "processes", "precision", "recipe", "seed", "checkpoint", "outcome")
SHARED = ("parallel", "processes", "precision", "recipe", "seed")
# of each metric the first and the last of the scores that sentences state: a terminal is narrow
_SCORES = dict.fromkeys(name for metric in METRICS.values() for name in (metric.told[0], metric.told[-1]))
NUMBERS = (
    ("training_loss", "train loss"),
    ("validation_loss", "val loss"),
    *((name, SHORT_TITLES[name]) for name in _SCORES),
    ("tokens_per_second", "tokens/s"),
    ("peak_memory", "memory"),
    ("parity", "parity"),
)


def table(path: Path) -> str:
    """The chosen columns of a comparison's CSV, aligned; below it levels and parity, from the files beside it.

    Scores have one standard error and, in brackets, their 95 % interval.

    Raises:
        InputError: the file is missing or is no comparison.
    """
    rows = _read(path)
    if rows is None:
        raise InputError(
            f"{path.resolve()}: no such file; run the study first, or call this in the folder that it ran in"
        )
    if rows and "model" not in rows[0]:
        raise InputError(f"{path}: has no column `model`; give the comparison.csv of a study's report")
    over_seeds = [row for row in rows if row.get("section") == SEEDS]
    rows = [row for row in rows if not row.get("section")]
    if not rows:
        return f"{path}: no runs"
    parts = [
        f"mean ± standard deviation over seeds\n{_comparison(over_seeds)}" if over_seeds else "",
        f"each run\n{_comparison(rows)}" if over_seeds else _comparison(rows),
        _levels(_read(path.with_name("levels.csv"))),
        _parity(_read(path.with_name("parity.csv"))),
    ]
    return "\n\n".join(part for part in parts if part)


def _read(path: Path) -> list[dict[str, str]] | None:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except FileNotFoundError:
        return None


def _comparison(rows: Sequence[dict[str, str]]) -> str:
    names = [name for name in WORDS if name in rows[0]]
    columns = [(name, False, [truncate(row[name], WIDEST) for row in rows]) for name in names]
    # what all runs share is shown once, below the table
    shared = [name for name in SHARED if name in names and len({row[name] for row in rows} - {""}) == 1 < len(rows)]
    columns = [column for column in columns if column[0] not in shared]
    for name, title in NUMBERS:
        # the first column of that name: an evaluation's are named `evaluation:name`
        key = next(
            (key for key in rows[0] if key == name or (key.endswith(f":{name}") and not key.startswith(":"))), None
        )
        if key is not None:
            columns.append((title, True, [_number(name, row, key) for row in rows]))
    text = align_columns([column for column in columns if any(column[2])])
    alike = ", ".join(f"{name} {max(row[name] for row in rows)}" for name in shared)
    return f"{text}\nall runs: {alike}" if alike else text


def _levels(rows: list[dict[str, str]] | None) -> str:
    """Accuracy by level, a table for each set of items; empty where items have no levels."""
    texts = []
    for items in dict.fromkeys(row["items"] for row in rows or []):
        group = [
            row for row in rows or [] if row["items"] == items and (not row["section"] or row["model"] == "chance")
        ]
        levels = [key.removesuffix("_n") for key in group[0] if key.endswith("_n")]
        columns = [(level, True, [_number(SHARE, row, level) for row in group]) for level in levels]
        columns = [column for column in columns if any(column[2][:-1])]
        if len(columns) > 1:
            names = ("model", False, [truncate(row["model"], 2 * WIDEST) for row in group])
            texts.append(f"accuracy, %, on {items}\n{align_columns([names, *columns])}")
    return "\n\n".join(texts)


def _parity(rows: list[dict[str, str]] | None) -> str:
    """One line a precision: how many parallel settings stay within tolerance, and how far off the worst is."""
    lines = []
    for precision, against in dict.fromkeys((row["precision"], row["against"]) for row in rows or []):
        group = [row for row in rows or [] if (row["precision"], row["against"]) == (precision, against)]
        compared = [row for row in group if row["largest"]]
        line = f"parity in {precision}: "
        if compared:
            within = sum(row["verdict"] == "within tolerance" for row in compared)
            probes = [
                {"parallel": row["parallel"], "against": against, "compared_steps": int(row["compared_steps"])}
                | {key: float(row[key]) for key in ("largest", "tolerance")}
                for row in compared
            ]
            what = probe_noun([row["parallel"] for row in compared])
            word, worst = nearest_probe(probes)
            far = (
                f"{word} {scientific(worst['largest'])} ({worst['parallel']})"
                if worst["largest"]
                else "all equal bit by bit"
            )
            line += f"{within} of {len(compared)} {what} within {describe_tolerance(probes)}, {far}"
        failed = [f"{row['parallel']} {row['outcome']}" for row in group if not row["largest"]]
        lines.append(line + ("; " if compared and failed else "") + ", ".join(failed))
    return "\n".join(lines)


def _number(name: str, row: dict[str, str], key: str) -> str:
    if not row[key]:
        return ""
    value = float(row[key])
    if name == "parity":
        return scientific(value)
    if name == "peak_memory":
        return size(value)
    if name == "tokens_per_second":
        return decimal(value, 0)
    scale = 100 if name in PERCENT else 1
    digits = 1 if name in BOUNDED else 3 if name in LOSSES else 2
    parts = [row.get(f"{key}_{part}") for part in ("standard_deviation", "standard_error", "low", "high")]
    deviation, error, low, high = (decimal(scale * float(part), digits) if part else "" for part in parts)
    text = decimal(scale * value, digits)
    if deviation:
        return f"{text} ± {deviation}"
    text += f" ± {error}" if error else ""
    return f"{text} [{low}, {high}]" if low and high else text


def main(arguments: Sequence[str]) -> int:
    """Print the table of each file; 1 if one can't be read."""
    try:
        print("\n\n".join(table(Path(argument)) for argument in arguments))
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
