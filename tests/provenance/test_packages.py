"""Whether a result was made with the packages of today: outside conda, and in environments of conda's."""

import sys
from pathlib import Path
from typing import Any

import pytest

from trainyard.core.files import sha256_file
from trainyard.core.python_environment import package_versions
from trainyard.provenance.machine import conda_environment
from trainyard.provenance.packages import other_packages
from trainyard.provenance.read import Record

PINS = "dependencies:\n  - python=3.11\n  - pip=25.3\n  - pip:\n      - numpy==1.26.4\n      - torch==2.5.1\n"
OF_ITS_OWN = {"python": "3.11.99", "torch": "2.5.1", "numpy": "1.26.4", "deepspeed": None}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with an environment's file, and the environment that Snakemake made from it."""
    monkeypatch.chdir(tmp_path)
    for file in ("envs/train.yaml", ".snakemake/conda/0123abcd_.yaml"):
        Path(file).parent.mkdir(parents=True)
        Path(file).write_text(PINS)
    return tmp_path


def record(found: dict[str, str | None], **changes: Any) -> Record:
    values = {"command": [], "started": "", "ended": "", "commit": None, "dirty": None, "differs": None, "code": None}
    values |= {"settings": "", "inputs": {}, "outputs": {}, "platform": "", "cpu": "", "gpu": None, "environment": {}}
    return Record.model_validate(values | {"cores": 1, "memory": 1, "versions": found, **changes})


def in_conda(found: dict[str, str | None]) -> Record:
    return record(found, conda=conda_environment(Path("envs"), ".snakemake/conda/0123abcd_"))


def test_an_environment_is_known_by_the_file_that_it_was_made_from() -> None:
    sha256 = sha256_file("envs/train.yaml")
    assert conda_environment(Path("envs"), ".snakemake/conda/0123abcd_") == {
        "file": "envs/train.yaml",
        "sha256": sha256,
    }
    assert conda_environment(Path("envs")) is None


def test_packages_of_an_environment_are_those_that_its_file_pins_and_not_those_of_this_python() -> None:
    assert other_packages(in_conda(OF_ITS_OWN), sys.executable) is None
    assert other_packages(in_conda(OF_ITS_OWN | {"torch": "2.5.1+cpu"}), sys.executable) is None
    of_this_python = OF_ITS_OWN | {"python": f"{sys.version_info.major}.{sys.version_info.minor}.99"}
    assert str(other_packages(record(of_this_python), sys.executable)).startswith("made with torch 2.5.1 (")
    assert other_packages(in_conda(OF_ITS_OWN | {"numpy": "1.26.3"}), sys.executable) == (
        "made with numpy 1.26.3 (1.26.4 in envs/train.yaml)"
    )


def test_an_environment_whose_file_has_changed_since_is_another() -> None:
    found = in_conda(OF_ITS_OWN)
    Path("envs/train.yaml").write_text(PINS + "      - psutil==7.2.2\n")
    assert str(other_packages(found, sys.executable)).startswith("made in the environment of another envs/train.yaml: ")
    Path("envs/train.yaml").unlink()
    assert str(other_packages(found, sys.executable)).startswith("made in a conda environment (")
    assert str(other_packages(in_conda(OF_ITS_OWN), sys.executable)).startswith("made in a conda environment (")


def test_here_the_last_digit_of_python_and_the_build_of_torch_do_not_count() -> None:
    here = package_versions(["torch", "numpy"])
    minor = str(here["python"]).rpartition(".")[0]
    torch = f"{str(here['torch']).partition('+')[0]}+cu130"
    assert other_packages(record(here | {"python": f"{minor}.99", "torch": torch}), sys.executable) is None
    assert other_packages(record(here | {"python": "3.9.1"}), sys.executable) == (
        f"made with python 3.9.1 ({here['python']} here)"
    )
