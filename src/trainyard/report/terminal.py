"""The comparison of a study as a table for the terminal: `python -m trainyard.report.terminal comparison.csv`."""

import csv
import sys
from collections.abc import Sequence
from pathlib import Path

from trainyard.errors import InputError
from trainyard.report.format import clip, fixed, scientific, size

WIDEST = 22
WORDS = ("model", "dataset", "parallel", "processes", "precision", "recipe", "seed", "checkpoint", "outcome")
NUMBERS = (
    ("training_loss", "train loss"),
    ("validation_loss", "val loss"),
    ("acc", "acc %"),
    ("perplexity_word", "ppl/word"),
    ("rouge1", "ROUGE-1"),
    ("rougeL", "ROUGE-L"),
    ("tokens_per_second", "tokens/s"),
    ("peak_memory", "memory"),
    ("parity", "parity"),
)


def table(path: Path) -> str:
    """The chosen columns of a comparison's CSV, aligned.

    Raises:
        InputError: the file is missing or is no comparison.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run the study first") from None
    if rows and "model" not in rows[0]:
        raise InputError(f"{path}: has no column `model`; give the comparison.csv of a study's report")
    rows = [row for row in rows if not row.get("section")]
    if not rows:
        return f"{path}: no runs"
    names = [name for name in WORDS if name in rows[0]]
    columns = [(name, name, [clip(row[name], WIDEST) for row in rows]) for name in names]
    for name, title in NUMBERS:
        # the first column of that name: an evaluation's stand as `evaluation:name`
        key = next(
            (key for key in rows[0] if key == name or (key.endswith(f":{name}") and not key.startswith(":"))), None
        )
        if key is not None:
            columns.append((name, title, [_number(name, row, key) for row in rows]))
    columns = [column for column in columns if any(column[2])]
    widths = [max(len(title), *(len(value) for value in values)) for _, title, values in columns]
    lines = [[title for _, title, _ in columns], ["─" * width for width in widths]]
    lines += [[values[index] for _, _, values in columns] for index in range(len(rows))]
    return "\n".join(
        "  ".join(
            text.ljust(width) if column[0] in WORDS else text.rjust(width)
            for text, width, column in zip(line, widths, columns, strict=True)
        ).rstrip()
        for line in lines
    )


def _number(name: str, row: dict[str, str], key: str) -> str:
    if not row[key]:
        return ""
    value = float(row[key])
    if name == "parity":
        return scientific(value)
    if name == "peak_memory":
        return size(value)
    if name == "tokens_per_second":
        return fixed(value, 0)
    error = row.get(f"{key}_standard_error")
    scale, digits = {"acc": (100, 1), "training_loss": (1, 3), "validation_loss": (1, 3)}.get(name, (1, 2))
    text = fixed(scale * value, digits)
    return f"{text} ± {fixed(scale * float(error), digits)}" if error else text


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
