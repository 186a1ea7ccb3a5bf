"""The working folder: its key, its lock, and when it starts afresh."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from trainyard.core.errors import InputError
from trainyard.train.work_folder import WorkFolder, folder_key, input_hashes, locked_folders

SOURCE = Path(__file__).parents[2] / "src"
HOLD = """
import sys
from pathlib import Path
from trainyard.train.work_folder import WorkFolder
with WorkFolder(Path(sys.argv[1])).lock():
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path):
    return WorkFolder(tmp_path / "study" / "run" / "key")


@pytest.fixture
def holder(folder):
    """Another process that holds the folder's lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder.path)],
        env={"PYTHONPATH": str(SOURCE)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_the_key_depends_on_settings_data_and_code():
    specification = {"seed": 1, "data": {"train": "a"}}
    key = folder_key(specification, {"train": "0"}, "code")
    assert folder_key({"data": {"train": "a"}, "seed": 1}, {"train": "0"}, "code") == key
    assert folder_key(specification | {"data": {"train": "b"}}, {"train": "0"}, "code") == key
    others = [
        folder_key(specification | {"seed": 2}, {"train": "0"}, "code"),
        folder_key(specification, {"train": "1"}, "code"),
        folder_key(specification, {"train": "0"}, "other"),
    ]
    assert len({key, *others}) == 4


def test_data_without_an_index_is_named(tmp_path):
    with pytest.raises(InputError, match=r"train/index.json: no such file"):
        input_hashes({"train": str(tmp_path / "train")})


def test_a_second_trainer_waits_and_is_told_who_is_there(folder, holder, capfd):
    start = time.monotonic()
    with pytest.raises(InputError, match="another trainer still holds this folder after 1 s"), folder.lock(1):
        pass
    assert time.monotonic() - start >= 1
    assert "another trainer is using this folder; waiting" in capfd.readouterr().err


def test_the_lock_of_a_killed_trainer_is_free(folder, holder):
    holder.kill()
    with folder.lock(10):
        pass


def test_live_trainers_are_listed(folder, holder, tmp_path):
    assert locked_folders(tmp_path) == [folder.path]
    holder.kill()
    holder.wait()
    assert locked_folders(tmp_path) == []


def test_a_cleared_folder_holds_its_lock_alone(folder):
    with folder.lock():
        (folder.checkpoints / "step-000001").mkdir(parents=True)
        folder.end("finished")
        folder.finish()
        assert not folder.checkpoints.exists()
        assert folder.outcome() == {"outcome": "finished", "reason": None}
        folder.clear()
        assert folder.outcome() is None
        assert [entry.name for entry in folder.path.iterdir()] == ["lock"]


def test_a_killed_run_says_where_it_continues(folder):
    assert folder.describe_continuation() == "run again, and it starts from step 1"
    for step in (50, 100):
        (folder.checkpoints / f"step-{step:06d}").mkdir(parents=True)
    assert folder.describe_continuation() == "run again, and it continues after step 100"
