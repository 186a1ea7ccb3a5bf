"""The list of working folders, and the removal of those that nothing goes on from."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from trainings import make_specification

from trainyard.core.code_versions import CodeVersion
from trainyard.core.files import write_json
from trainyard.plan.jobs import training_code
from trainyard.train.work_folder import WorkFolder

SOURCE = Path(__file__).parents[2] / "src"


@pytest.fixture
def specification(tmp_path):
    return make_specification(tmp_path / "data")


@pytest.fixture
def make(tmp_path, specification):
    """Makes a working folder with a checkpoint, by the name of its key and the code that made it."""

    def made(key, code, step=50):
        folder = WorkFolder(tmp_path / "work" / "study" / "run" / key)
        (folder.checkpoints / f"step-{step:06d}").mkdir(parents=True)
        (folder.checkpoints / f"step-{step:06d}" / "weights").write_bytes(bytes(3 * 2**20))
        write_json(folder.specification, specification)
        folder.write_origin({}, [CodeVersion(1, code, "1" * 40, False, {})])
        folder.lock_file.touch()
        return folder

    return made


@pytest.fixture
def folders(make, specification):
    """One of each kind."""
    made = {
        "now": make("now", training_code(specification)),
        "before": make("before", "0123456789abcdef", step=400),
        "done": make("done", "0123456789abcdef"),
        "unknown": make("unknown", "0123456789abcdef"),
    }
    made["done"].finish()
    made["unknown"].origin.unlink()
    days_ago = time.time() - 3 * 86400
    for path in (made["before"].path, *made["before"].path.rglob("*")):
        os.utime(path, (days_ago, days_ago))
    return made


@pytest.fixture
def call(tmp_path):
    """Calls the command in the folder that the study ran in."""

    def run(*arguments):
        command = [sys.executable, "-m", "trainyard.tools.work_folders", *arguments]
        environment = os.environ | {"PYTHONPATH": str(SOURCE)}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    return run


def test_each_folder_stands_with_size_step_age_state_and_code(folders, call):
    lines = call().stdout.splitlines()
    cells = {line.split()[0]: " ".join(line.split()[1:]) for line in lines}
    assert cells["folder"] == "size step age state code"
    assert cells["work/study/run/before"] == "3 MiB 400 3 days other code commit 111111111111 (code 01234567)"
    assert cells["work/study/run/now"].startswith("3 MiB 50 0 minutes today's code commit 111111111111 (code ")
    assert " none 0 minutes finished commit " in cells["work/study/run/done"]
    assert cells["work/study/run/unknown"] == "3 MiB 50 0 minutes other code not recorded"
    assert lines[-2] == "resume=anyway goes on from none whose code is not recorded"
    assert lines[-1].startswith("3 of 4 are old, 6 MiB: ")


def test_old_ones_are_removed_and_one_in_use_stays(folders, call, tmp_path):
    with folders["unknown"].lock():
        done = call("--remove", "old")
    assert done.stdout == "removed 2 working folders, 3 MiB\n"
    assert sorted(path.name for path in (tmp_path / "work/study/run").iterdir()) == ["now", "unknown"]
    assert folders["now"].saved_step() == 50


def test_the_folders_of_studies_and_runs_go_with_their_last(make, call, tmp_path):
    make("before", "0123456789abcdef")
    assert call("--remove", "old").returncode == 0
    assert list((tmp_path / "work").iterdir()) == []
    assert call().stdout == f"no working folders below {tmp_path / 'work'}\n"


def test_nothing_is_removed_while_snakemake_works_there(folders, call, tmp_path):
    lock = tmp_path / ".snakemake" / "locks" / "0.input.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    done = call("--remove", "old")
    assert done.returncode == 1
    assert "a Snakemake works in this folder, or was killed: wait for it, or call make unlock first" in done.stderr
    assert folders["before"].path.is_dir()


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("spec.json", "[]"),
        ("spec.json", '{"model": "gpt2"}'),
        ("spec.json", '{"model'),
        ("origin.json", "{}"),
        ("origin.json", '{"inputs": {}, "versions": [{"step": 1, "of": "another version"}]}'),
    ],
)
def test_a_folder_that_cannot_be_read_is_listed_and_removed_with_the_old_ones(folders, call, file, content):
    (folders["before"].path / file).write_text(content)
    said = call()
    assert said.returncode == 0, said.stderr
    assert sum("work/study/run/" in line for line in said.stdout.splitlines()) == 4
    assert call("--remove", "old").returncode == 0
    assert not folders["before"].path.exists()
    assert folders["now"].path.exists()


def test_a_folder_of_a_family_that_is_gone_is_of_other_code(folders, call, specification):
    specification["model"]["family"] = "gone"
    write_json(folders["now"].specification, specification)
    (line,) = [line for line in call().stdout.splitlines() if "/now " in line]
    assert "other code" in line
