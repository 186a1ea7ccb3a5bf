"""A small `config` folder that tests change."""

import shutil
import venv
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from trainyard.plan.configuration import Plan, make_plan

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

SEARCH = {
    "name": "rate",
    "method": ["pbt", "halving"],
    "dataset": "tinyworld",
    "model": "gpt2-tiny",
    "members": 4,
    "generations": 3,
    "steps": 10,
    "over": {"learning_rate": {"log": [1e-4, 1e-2]}},
    "train": {"batch": 8, "sequence_length": 64, "decay": "constant", "warmup_steps": 12},
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
def other_python(tmp_path: Path) -> str:
    """The interpreter of another environment, with packages that are named alone."""
    venv.create(tmp_path / "other", symlinks=True)
    (packages,) = (tmp_path / "other").glob("lib/python*/site-packages")
    for name, version in {"deepspeed": "0.18.0", "torch": "2.5.1", "transformers": "4.51.3"}.items():
        (packages / f"{name}-{version}.dist-info").mkdir()
        (packages / f"{name}-{version}.dist-info" / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
    return str(tmp_path / "other" / "bin" / "python")


@pytest.fixture
def plan(folder: Path) -> Callable[..., Plan]:
    """Plan the study `s` that is given as a value or as text."""

    def make(study: dict | str | None = None, **config: object) -> Plan:
        text = study if isinstance(study, str) else yaml.safe_dump(study or STUDY)
        (folder / "studies" / "s.yaml").write_text(text)
        return make_plan({"studies": "s", "device": "cpu", **config}, folder)

    return make
