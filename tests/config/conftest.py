"""A small `config` folder that tests change."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from trainyard.config.plan import Plan, make_plan

CONFIG = Path(__file__).resolve().parents[2] / "config"
STUDY = {
    "title": "A study",
    "question": "Does it plan?",
    "grids": [
        {
            "datasets": ["tinyworld"],
            "models": ["gpt2-tiny"],
            "train": {"steps": 10, "batch": 8, "sequence_length": 64, "learning_rate": 1e-3},
        }
    ],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The real catalogues, with no study."""
    folder = tmp_path / "config"
    (folder / "studies").mkdir(parents=True)
    for name in ("datasets", "tokenizers", "models", "parallel"):
        shutil.copy(CONFIG / f"{name}.yaml", folder)
    return folder


@pytest.fixture
def plan(folder: Path) -> Callable[..., Plan]:
    """Plan the study `s` that is given as a value or as text."""

    def make(study: dict | str | None = None, **config: object) -> Plan:
        text = study if isinstance(study, str) else yaml.safe_dump(study or STUDY)
        (folder / "studies" / "s.yaml").write_text(text)
        return make_plan({"studies": "s", "device": "cpu", **config}, folder)

    return make
