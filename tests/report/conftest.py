"""A study without results, and one with every kind."""

from pathlib import Path

import pytest

from trainyard.config.catalogue import Model
from trainyard.config.study import Study

from .sample_results import MODELS, Results
from .sample_study import STUDY, fill


@pytest.fixture
def empty(tmp_path: Path) -> Results:
    """A study without results."""
    models = {name: Model.model_validate(entry) for name, entry in MODELS.items()}
    return Results(tmp_path, "demo", Study.model_validate(STUDY), models)


@pytest.fixture
def outputs(tmp_path: Path) -> dict[str, Path]:
    """Where a table goes: its page and its CSV."""
    return {"table": tmp_path / "t.html", "numbers": tmp_path / "t.csv"}


@pytest.fixture
def full(empty: Results) -> Results:
    """A study with every kind of result."""
    return fill(empty)
