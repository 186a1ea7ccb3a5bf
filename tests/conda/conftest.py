"""The repository with a stand-in for conda, after one run of a small study in conda environments."""

import os
import sys
import sysconfig

import pytest
from conda_channel import make_base
from conda_environments import STUDY, TARGETS, InEnvironments
from repository import ROOT, Repository

from trainyard.core.python_environment import read_pins


@pytest.fixture(scope="session")
def environments(tmp_path_factory: pytest.TempPathFactory) -> InEnvironments:
    """The repository after a study's data, training, evaluation and a part of its report."""
    folder = tmp_path_factory.mktemp("conda").resolve()
    base = make_base(folder / "base", pip=read_pins(ROOT / "envs" / "report.yaml")["pip"])
    repository = Repository(folder / "trainyard")
    repository.write_study("conda", STUDY)
    version = "{}.{}".format(*sys.version_info)
    for file in (repository.folder / "envs").glob("*.yaml"):
        file.write_text(file.read_text().replace("python=3.11", f"python={version}"))
    (folder / "wheels").mkdir()
    repository.variables = {
        "PATH": f"{base / 'bin'}:{os.environ['PATH']}",
        # of the main environment, so that a package that is missing in one of the others lies in reach
        "PYTHONPATH": sysconfig.get_path("purelib"),
        "WITNESS": str(folder / "starts"),
        # pip finds what is asked for, or fails: nothing but what an environment file pins is installed
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(folder / "wheels"),
    }
    made = InEnvironments(repository, folder / "starts")
    made.create(*TARGETS)
    made.snakemake(*TARGETS)
    return made
