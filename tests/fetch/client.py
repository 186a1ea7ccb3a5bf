"""A process that downloads what it is told, one line of JSON after another.

The hub's client reads its address and limits when it is imported, so that it can't be had in the tests' own process.
"""

import json
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

from trainyard.config.catalogue import Dataset, Model, Tokenizer
from trainyard.config.yaml_entries import parse
from trainyard.core.errors import InputError
from trainyard.data.download import download
from trainyard.data.stored_rows import read_rows
from trainyard.fetch import attempts, hub

attempts.FIRST_WAIT = 0.02
attempts.LONGEST_WAIT = 2.0
hub.SECONDS = 1.0


def dataset(order: dict[str, Any], output: Path) -> dict[str, Any]:
    entry = Dataset.model_validate(order["entry"])
    about = download(order["name"], entry, order["split"], output, lock=Path(order["lock"]))
    return {"revision": about["revision"], "rows": [row["text"] for row in read_rows(output, "text")]}


def model(order: dict[str, Any], output: Path) -> dict[str, Any]:
    from trainyard.models.pretrained import fetch_model  # noqa: PLC0415  (takes seconds to import)

    fetch_model(order["name"], Model.model_validate(order["entry"]), output, lock=Path(order["lock"]))
    return {"origin": json.loads((output / "origin.json").read_text())}


def tokenizer(order: dict[str, Any], output: Path) -> dict[str, Any]:
    from trainyard.data.tokenizers import make_tokenizer  # noqa: PLC0415

    entry = parse(Tokenizer, order["entry"], "order")
    return {"index": make_tokenizer(order["name"], entry, output, lock=Path(order["lock"]))}


# libraries write to the standard output too
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
logging.basicConfig(level=logging.INFO, stream=sys.stderr)
for line in sys.stdin:
    order = json.loads(line)
    start = time.monotonic()
    try:
        answer = globals()[order["act"]](order, Path(order["output"]))
    except InputError as error:
        answer = {"error": str(error)}
    print(json.dumps(answer | {"seconds": time.monotonic() - start}), file=answers, flush=True)
