"""What becomes of a file of rows that a dataset names."""

from pathlib import Path
from typing import Any

import rows_of

from trainyard.core.files import read_json
from trainyard.data.download import download
from trainyard.evaluate.hellaswag_items import make_item
from trainyard.evaluate.rows import read_rows


def take(path: Path, kind: str, refused: Any) -> None:
    """Bring a file into our form: what comes out can be evaluated, and what doesn't leaves nothing."""
    output = path.parent / "out" / "train.parquet"
    place = rf"({path}(, (after )?(row|line) \d+[^:]*)?|dataset mine): \S"
    about = refused(lambda: download("mine", rows_of.dataset(kind, path), "train", output), place)
    left = sorted(file.name for file in output.parent.iterdir()) if output.parent.exists() else []
    if about is None:
        assert left == []
        return
    assert left == ["train.json", "train.parquet"]
    rows = read_rows(output, list(rows_of.GOOD[kind]))
    assert len(rows) == about["rows"] == read_json(output.with_suffix(".json"))["rows"]
    if kind == "choices":
        assert all(make_item(row, "harness") for row in rows)
    for file in output.parent.iterdir():
        file.unlink()
