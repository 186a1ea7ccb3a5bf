"""What the Snakefile knows of engines, without importing one."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from trainyard.config.engine_options import ENGINES, parse_options
from trainyard.core.errors import InputError
from trainyard.core.repository import ROOT, SOURCE
from trainyard.parallel import engine_module

# what rules/common.smk imports, and the plan that it makes
PLANNING = """
import sys
from pathlib import Path
from trainyard.plan.code_hash import code_hash, files_hash
from trainyard.plan.jobs import Dag
from trainyard.plan.configuration import make_plan
from trainyard.hardware.gpus import find_gpus
from trainyard.plan.preflight import warn_of_memory, host_memory

plan = make_plan({"studies": ["demo", "parallel-settings"], "device": "cpu"}, Path("config"))
jobs = Dag(plan, Path("envs"), conda=False, predicted=host_memory)
warn_of_memory(jobs.runnable())
jobs.warnings()
code_hash("trainyard.train.job")
print(*sorted({"torch", "transformers", "datasets", "numpy"} & set(sys.modules)))
"""


def defines_engine(file: Path) -> bool:
    return any(isinstance(node, ast.ClassDef) and node.name == "Engine" for node in ast.parse(file.read_text()).body)


def test_each_engine_has_options_and_a_file() -> None:
    folder = SOURCE / "trainyard" / "parallel"
    files = {file for file in folder.glob("*/*.py") if defines_engine(file)}
    assert {SOURCE.joinpath(*engine_module(name).split(".")).with_suffix(".py") for name in ENGINES} == files


def test_a_plan_imports_no_library_that_takes_seconds() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PLANNING],
        cwd=ROOT,
        env={"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "\n"), done.stderr


def test_the_old_name_of_zero_s_level_says_the_new_one() -> None:
    for engine, given in (("deepspeed", {"stage": 2}), ("colossalai", {"plugin": "low-level-zero", "stage": 2})):
        with pytest.raises(InputError, match="stage: ZeRO's is called level here: write level: 2"):
            parse_options(engine, given)
