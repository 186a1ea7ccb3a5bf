import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

NEEDED = ("torch", "transformers", "numpy", "safetensors")
CARRIED = ("pydantic", "pydantic_core", "annotated-types", "typing-inspection")  # a version of typer brings it too


def _with_what_they_bring(names):
    """The distributions of these names, and of all that they require without extras, but CARRIED."""
    found, waiting = {}, list(names)
    while waiting:
        name = waiting.pop()
        if name not in (*found, *CARRIED):
            found[name] = importlib.metadata.distribution(name)
            needed = [Requirement(line) for line in found[name].requires or []]
            waiting += [each.name for each in needed if not each.marker or each.marker.evaluate({"extra": ""})]
    return found.values()


@pytest.fixture(scope="session")
def lean_python(tmp_path_factory):
    """An interpreter that has torch, transformers, numpy and safetensors, and of what these bring all but pydantic."""
    folder = tmp_path_factory.mktemp("lean")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (packages,) = folder.glob("lib/python3*/site-packages")
    for distribution in _with_what_they_bring(NEEDED):
        _link(distribution, packages)
    return folder / "bin" / "python"


@pytest.fixture(scope="session")
def carried(tmp_path_factory):
    """The folder that `pip install --target` makes of pydantic."""
    folder = tmp_path_factory.mktemp("carried")
    for name in CARRIED:
        _link(importlib.metadata.distribution(name), folder)
    return folder


def _link(distribution, folder):
    for top in {file.parts[0] for file in distribution.files or [] if file.parts[0] not in ("..", "__pycache__")}:
        if not (folder / top).exists():
            (folder / top).symlink_to(Path(str(distribution.locate_file(top))))
