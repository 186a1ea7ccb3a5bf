"""The first reading of a source is recorded, and every later one is compared with it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from filelock import FileLock

from trainyard.config.catalogue import Dataset
from trainyard.core.errors import InputError
from trainyard.core.files import sha256_file
from trainyard.data.download import download

ROOT = Path(__file__).parents[2]
ENTRY: dict[str, Any] = {
    "title": "Some data",
    "kind": "text",
    "source": {"hub": "org/set", "revision": "main"},
    "splits": {"train": "train", "test": "test[:1]"},
    "licence": "CC0",
}
Load = Callable[..., None]


@pytest.fixture
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The lock, in the folder that is worked in."""
    monkeypatch.chdir(tmp_path)
    return Path("config/data.lock.yaml")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A dataset in a mirror, of two splits."""
    folder = tmp_path / "mirror/datasets/org/set"
    folder.mkdir(parents=True)
    (folder / "train.txt").write_text("one\ntwo\n")
    (folder / "test.txt").write_text("three\n")
    return folder


@pytest.fixture
def load(tmp_path: Path, lock: Path) -> Load:
    def read(split: str = "train", name: str = "some", mirror: bool = True, **changed: Any) -> None:
        entry = Dataset.model_validate(ENTRY | changed)
        output = tmp_path / f"rows/{split}.parquet"
        download(name, entry, split, output, tmp_path / "mirror" if mirror else None, lock=lock)

    return read


def recorded(lock: Path, *keys: str) -> Any:
    value = yaml.safe_load(lock.read_text())
    for key in keys:
        value = value[key]
    return value


def accept(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trainyard.fetch.accept", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_the_first_reading_records_size_and_hash_of_each_file(lock: Path, folder: Path, load: Load) -> None:
    load()
    expected = {"size": 8, "sha256": sha256_file(folder / "train.txt")}
    assert recorded(lock) == {
        "datasets": {
            "some": {
                "mirror": {
                    "source": "org/set",
                    "revision": "main",
                    "splits": {"train": ["train.txt"]},
                    "files": {"train.txt": expected},
                }
            }
        }
    }
    lines = lock.read_text().splitlines()
    assert lines[0].startswith("# yaml-language-server: $schema=schema/data.lock.schema.json")
    assert any("make accept-data" in line for line in lines if line.startswith("#"))
    assert f"        train.txt: {{sha256: {expected['sha256']}, size: 8}}" in lines


def test_a_second_reading_changes_nothing(lock: Path, folder: Path, load: Load) -> None:
    load()
    written = lock.stat().st_mtime_ns, lock.read_bytes()
    load()
    assert (lock.stat().st_mtime_ns, lock.read_bytes()) == written


def test_another_split_is_recorded_beside_the_first(lock: Path, folder: Path, load: Load) -> None:
    load()
    load("test")
    assert list(recorded(lock, "datasets", "some", "mirror", "files")) == ["test.txt", "train.txt"]
    (folder / "train.txt").write_text("changed\n")
    load("test")
    with pytest.raises(InputError, match=r"train\.txt has 8 bytes"):
        load()


@pytest.mark.parametrize("content", ["one\ntwO\n", "one\n"])
def test_another_file_is_refused_with_what_was_expected_and_the_command_that_accepts_it(
    lock: Path, folder: Path, load: Load, content: str
) -> None:
    load()
    before, text = sha256_file(folder / "train.txt"), lock.read_text()
    (folder / "train.txt").write_text(content)
    found = f"{len(content)} bytes, SHA-256 {sha256_file(folder / 'train.txt')}"
    with pytest.raises(InputError) as error:
        load()
    assert str(error.value) == (
        f"config/data.lock.yaml: dataset some (mirror org/set at main) isn't what was recorded: train.txt has {found}; "
        f"recorded are 8 bytes, SHA-256 {before}. Put it back as it was; or, if the change is wanted, accept it and "
        "run again: make accept-data DATA=some ORIGIN=mirror"
    )
    assert lock.read_text() == text


def test_a_new_a_missing_and_a_moved_file_are_refused(folder: Path, load: Load) -> None:
    load()
    (folder / "train-2.txt").write_text("four\n")
    with pytest.raises(InputError, match=r"train-2\.txt is new in the split train"):
        load()
    (folder / "train.txt").unlink()
    with pytest.raises(InputError, match=r"train-2\.txt is new in the split train; train\.txt is missing in"):
        load()


@pytest.mark.parametrize("changed", [{"hub": "org/other"}, {"revision": "v2"}, {"configuration": "small"}])
def test_a_changed_entry_is_refused_before_anything_is_read(folder: Path, load: Load, changed: dict[str, str]) -> None:
    load()
    for other in (folder.with_name("other"), folder / "small"):
        other.mkdir()
        shutil.copy(folder / "train.txt", other)
    with pytest.raises(InputError, match=r"config/datasets\.yaml asks for .*, recorded is org/set at main\. .*accept"):
        load(source=ENTRY["source"] | changed)


def test_plain_files_are_recorded_by_their_paths(tmp_path: Path, lock: Path, load: Load) -> None:
    plain = tmp_path / "mine.txt"
    plain.write_text("one\n")
    one_split = {"source": {"files": {"train": str(plain)}}, "splits": {"train": "train"}}
    load(**one_split)
    assert list(recorded(lock, "datasets", "some", "files", "files")) == [str(plain)]
    plain.write_text("two\n")
    with pytest.raises(InputError, match=r"mine\.txt has 4 bytes.*make accept-data DATA=some ORIGIN=files"):
        load(**one_split)


def test_embedded_worlds_need_no_record(lock: Path, load: Load) -> None:
    world = {"embedded": "tinyworld", "part": "stories", "rows": {"train": 5}}
    load(source=world, splits={"train": "train"})
    assert not lock.exists()


def test_the_named_command_accepts_a_change_of_that_source_alone(lock: Path, folder: Path, load: Load) -> None:
    load()
    load(name="other")
    kept = recorded(lock, "datasets", "other")
    (folder / "train.txt").write_text("changed\n")
    with pytest.raises(InputError, match="make accept-data DATA=some ORIGIN=mirror"):
        load()
    done = accept("some", "mirror")
    assert done.returncode == 0, done.stderr
    assert "forgot dataset some (mirror): 1 file." in done.stdout
    assert recorded(lock, "datasets") == {"other": kept}
    load()
    assert recorded(lock, "datasets", "some", "mirror", "files", "train.txt", "size") == 8


def test_what_is_not_recorded_cannot_be_accepted(folder: Path, load: Load) -> None:
    load()
    for arguments in (("nosuch",), ("some", "hub")):
        done = accept(*arguments)
        assert done.returncode == 1
        assert f"no record of {arguments[0]}" in done.stderr
        assert "there are some" in done.stderr


def test_make_accepts_too(folder: Path, load: Load) -> None:
    load()
    command = ["make", "--dry-run", "--makefile", str(ROOT / "Makefile"), "accept-data", "DATA=some", "ORIGIN=mirror"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert "trainyard.fetch.accept some mirror" in done.stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("datasets: [", "config/data.lock.yaml, line 1: not valid YAML"),
        ("<<<<<<< HEAD\ndatasets: {}\n", "config/data.lock.yaml"),
        ("datasets: {some: {mirror: {files: {train.txt: {size: 1, sha256: abc}}}}}", "train.txt.sha256"),
        ("datasets: {some: {disk: {files: {}}}}", "disk"),
    ],
)
def test_a_damaged_lock_is_named_and_left_as_it_is(
    lock: Path, folder: Path, load: Load, text: str, message: str
) -> None:
    lock.parent.mkdir()
    lock.write_text(text)
    with pytest.raises(InputError) as error:
        load()
    assert str(error.value).startswith("config/data.lock.yaml")
    assert message in str(error.value)
    assert lock.read_text() == text


def test_a_lock_held_by_another_ends_with_a_sentence(
    lock: Path, folder: Path, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainyard.fetch.lock.LOCK_SECONDS", 0.1)
    lock.parent.mkdir()
    with FileLock(lock.parent / ".data.lock.yaml.lock"), pytest.raises(InputError, match="held by another download"):
        load()


@pytest.mark.slow
def test_the_rule_s_script_keeps_the_lock_of_the_working_folder(tmp_path: Path, lock: Path) -> None:
    plain = tmp_path / "mine.txt"
    plain.write_text("one\n")
    one_split = {"source": {"files": {"train": str(plain)}}, "splits": {"train": "train"}}
    entry = Dataset.model_validate(ENTRY | one_split)
    job = {
        "input": {},
        "output": {"rows": "results/rows/train.parquet", "index": "results/rows/train.json"},
        "params": {"dataset": entry.split_entry("train")},
        "wildcards": {"dataset": "some", "split": "train"},
        "threads": 1,
        "log": "logs/train.log",
    }
    Path("job.json").write_text(json.dumps(job))
    command = [sys.executable, str(ROOT / "workflow/scripts/download.py"), "job.json"]
    run = partial(subprocess.run, command, capture_output=True, text=True, timeout=120, check=False)
    done = run()
    assert done.returncode == 0, done.stderr
    assert list(recorded(lock, "datasets", "some", "files", "files")) == [str(plain)]
    plain.write_text("two\n")
    done = run()
    assert done.returncode == 1
    assert "error: config/data.lock.yaml: dataset some (files) isn't what was recorded" in done.stderr
    assert accept("some").returncode == 0
    assert run().returncode == 0


SETTLE = """
import sys
from trainyard.fetch.lock import PATH, Request, DataLock, LockedFile
number = int(sys.argv[1])
file = {"a.txt": LockedFile(size=number, sha256=f"{number:064d}")}
DataLock(PATH).settle(Request("datasets", f"set-{number}", "files"), file, "train")
"""


@pytest.mark.slow
def test_many_downloads_at_once_are_all_recorded(lock: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    started = [
        subprocess.Popen([sys.executable, "-c", SETTLE, str(number)], env=environment, cwd=Path.cwd())
        for number in range(8)
    ]
    assert [process.wait(120) for process in started] == [0] * 8
    assert {name: record["files"]["files"]["a.txt"]["size"] for name, record in recorded(lock, "datasets").items()} == {
        f"set-{number}": number for number in range(8)
    }
