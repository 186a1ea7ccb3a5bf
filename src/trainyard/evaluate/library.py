"""A metric's module of the library `evaluate`, from its file in `modules/`: it computes every headline value."""

import tempfile
from pathlib import Path
from typing import Any

import evaluate

MODULES = Path(__file__).parent / "modules"


def compute(metric: str, **inputs: Any) -> dict[str, Any]:
    """What the module of a metric makes of its inputs; nothing is fetched.

    Args:
        metric: the folder in `modules/`.
        inputs: what the module takes, one list for each of its features, and its own keywords.
    """
    with tempfile.TemporaryDirectory() as cache:
        found = evaluate.load(str(MODULES / metric), cache_dir=cache, keep_in_memory=True).compute(**inputs)
    assert found is not None  # only ranks other than the first get None, and there is one
    return found
