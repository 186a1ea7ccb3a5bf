"""How the rows of a study ended: a framework that crashed is a row of its report, and an error of the call."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from trainyard.core.errors import InputError
from trainyard.core.failure_counts import FAILED
from trainyard.core.files import read_json, write_text
from trainyard.report.render.format import plural

MOST = 5


def check(study: str, *, rows: Sequence[Path], output: Path) -> None:
    """Write how many rows ended how.

    Args:
        study: its name.
        rows: summary.json of its runs and probes, and the files of its measured cells.
        output: the text.

    Raises:
        InputError: some failed; with their names and reasons.
    """
    content = {path: read_json(path) for path in rows}
    failed = {path: row["reason"].partition("\n")[0] for path, row in content.items() if row["outcome"] == FAILED}
    if failed:
        examples = "; ".join(f"{path}: {reason}" for path, reason in list(failed.items())[:MOST])
        more = f"; and {len(failed) - MOST} more" if len(failed) > MOST else ""
        raise InputError(
            f"{study}: {plural(len(failed), 'row')} of {len(content)} failed, as its report says ({examples}{more}); "
            "fix the environment or remove the parallel setting, and run again: what failed is tried again"
        )
    ended = Counter(row["outcome"] for row in content.values())
    write_text(output, "".join(f"{number} {outcome}\n" for outcome, number in sorted(ended.items())) or "no rows\n")
