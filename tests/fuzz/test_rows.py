"""Values of rows, whatever they were read from: text, pairs to summarise, and HellaSwag's items."""

from typing import Any

import pyarrow as pa
import pytest
import rows_of

from trainyard.data.readers import Row
from trainyard.data.rows import columns, normalize_rows
from trainyard.data.stored_rows import SCHEMAS
from trainyard.evaluate.hellaswag_items import make_item


@pytest.mark.parametrize(
    ("kind", "documents"), [("text", "rows"), ("text", "wikitext"), ("pairs", "rows"), ("choices", "rows")]
)
def test_a_row_is_taken_or_refused_by_its_number(fuzz: Any, refused: Any, kind: str, documents: str) -> None:
    dataset = rows_of.dataset(kind, "x", documents=documents)
    required, _ = columns(dataset)

    def check(values: list[Any]) -> None:
        # what every reader sees to: a row is a dictionary with the required columns
        whole = [row for row in values if isinstance(row, dict) and set(required) <= set(row)]
        rows = iter([Row("f.jsonl", number, row) for number, row in enumerate(whole, 1)])
        taken = refused(lambda: list(normalize_rows(dataset, rows)), r"f\.jsonl, row \d+: `\w+` ")
        for row in taken or []:
            pa.Table.from_pylist([row], schema=SCHEMAS[kind])
            if kind == "choices":
                assert make_item(row, "harness").endings
                assert make_item(row, "completion").label in range(4)

    fuzz(rows_of.rows(kind), check, 1200)
