"""A metric's module of the library `evaluate`, from its file in `modules/`: it computes every headline value."""

import importlib
import tempfile
from typing import Any

import evaluate

MODULES = f"{__package__}.modules"


def compute(metric: str, **inputs: Any) -> dict[str, Any]:
    """What the module of a metric makes of its inputs; nothing is fetched.

    The module is imported where it stands: `evaluate.load` would copy it into the cache of the Hugging Face hub first,
    which may be read-only.

    Args:
        metric: the folder in `modules/`.
        inputs: what the module takes, one list for each of its features, and its own keywords.
    """
    module = importlib.import_module(f"{MODULES}.{metric}.{metric}")
    (kind,) = (each for each in vars(module).values() if isinstance(each, type) and issubclass(each, evaluate.Metric))
    with tempfile.TemporaryDirectory() as cache:
        found = kind(cache_dir=cache, keep_in_memory=True).compute(**inputs)
    assert found is not None  # only ranks other than the first get None, and there is one
    return found
