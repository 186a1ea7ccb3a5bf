"""The commit of the code, and what differs from it, in real repositories."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from trainyard.core.repository import describe_repository, explain_unknown_commit

CLEAN = {"unknown": None, "dirty": False, "differs": None}


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=A Name", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A repository with one commit."""
    folder = tmp_path / "code"
    (folder / "src").mkdir(parents=True)
    (folder / "config").mkdir()
    (folder / "src" / "loop.py").write_text("step = 1\n")
    (folder / "src" / "ünïcode.py").write_text("pass\n")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "First")
    return folder


def test_a_clean_tree_is_its_commit(code: Path) -> None:
    assert describe_repository(code) == {"commit": git(code, "rev-parse", "HEAD"), **CLEAN}


def test_a_dirty_tree_names_its_files(code: Path) -> None:
    (code / "src" / "ünïcode.py").write_text("fail\n")
    (code / "src" / "new.py").write_text("pass\n")
    (code / "src" / "loop.py").unlink()
    found = describe_repository(code)
    assert found["dirty"] is True
    assert found["differs"]["files"] == ["src/loop.py", "src/new.py", "src/ünïcode.py"]


@pytest.mark.parametrize("file", ["src/loop.py", "src/new.py"])
def test_the_same_changes_have_the_same_hash_and_others_have_another(code: Path, tmp_path: Path, file: str) -> None:
    shutil.copytree(code, tmp_path / "clone")
    for folder in (code, tmp_path / "clone"):
        (folder / file).write_text("step = 2\n")
    one, same = describe_repository(code), describe_repository(tmp_path / "clone")
    assert one == same
    (code / file).write_text("step = 3\n")
    other = describe_repository(code)
    assert other["differs"]["files"] == one["differs"]["files"]
    assert other["differs"]["sha256"] != one["differs"]["sha256"]


def test_a_staged_change_is_a_change(code: Path) -> None:
    (code / "src" / "loop.py").write_text("step = 2\n")
    git(code, "add", ".")
    assert describe_repository(code)["differs"]["files"] == ["src/loop.py"]


def test_what_bears_on_no_result_makes_no_tree_dirty(code: Path) -> None:
    (code / "notes.txt").write_text("to do")
    (code / "results" / "demo").mkdir(parents=True)
    (code / "results" / "demo" / "summary.json").write_text("{}")
    (code / "config" / "data.lock.yaml").write_text("{}")
    assert describe_repository(code)["dirty"] is False


@pytest.mark.parametrize("kind", ["none", "empty", "within another"])
def test_without_a_commit_of_its_own_nothing_is_claimed(tmp_path: Path, code: Path, kind: str) -> None:
    folder = code / "src" if kind == "within another" else tmp_path / "other"
    folder.mkdir(exist_ok=True)
    if kind == "empty":
        git(folder, "init", "--quiet")
    why = "not a git repository of its own"
    assert describe_repository(folder) == {"commit": None, "unknown": why, "dirty": None, "differs": None}


@pytest.fixture
def of_another_user(code: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The repository as in a container that mounts the clone of another user, whom no setting of git's trusts."""
    if os.getuid() != 0:
        pytest.skip("a folder can be given to another user by root alone")
    monkeypatch.setenv("HOME", str(code.parent))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for name in ("XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL"):
        monkeypatch.delenv(name, raising=False)
    for path in (code, code / ".git"):
        os.chown(path, 4242, 4242)
    return code


def test_a_clone_that_another_user_owns_is_unknown_by_gits_own_words_with_the_remedy(of_another_user: Path) -> None:
    words = subprocess.run(["git", "status"], cwd=of_another_user, capture_output=True, text=True, check=False).stderr
    found = describe_repository(of_another_user)
    assert (found["commit"], found["dirty"], found["differs"]) == (None, None, None)
    first = words.splitlines()[0].replace(str(of_another_user), ".")
    assert found["unknown"] == f'{first}; to trust it: git config --global --add safe.directory "$PWD"'
    assert explain_unknown_commit(of_another_user) == found["unknown"]


def test_the_remedy_makes_it_known(of_another_user: Path) -> None:
    remedy = describe_repository(of_another_user)["unknown"].split("; to trust it: ")[1]
    subprocess.run(remedy, shell=True, cwd=of_another_user, env={**os.environ, "PWD": str(of_another_user)}, check=True)
    assert describe_repository(of_another_user) == {"commit": git(of_another_user, "rev-parse", "HEAD"), **CLEAN}
    assert explain_unknown_commit(of_another_user) is None


def test_a_repository_that_git_can_not_read_is_not_called_clean(code: Path) -> None:
    (code / ".git" / "index").write_bytes(b"damaged")
    found = describe_repository(code)
    assert (found["commit"], found["dirty"]) == (None, None)
    assert "index" in found["unknown"]


def test_the_repository_of_a_hook_that_calls_is_not_asked(code: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = git(code, "rev-parse", "HEAD")
    other = code.parent / "other"
    other.mkdir()
    git(other, "init", "--quiet")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert describe_repository(code) == {"commit": commit, **CLEAN}


@pytest.mark.parametrize(
    "change", [lambda file: file.unlink(), lambda file: file.write_text(""), lambda file: file.chmod(0o755)]
)
def test_a_file_that_is_gone_emptied_or_made_a_program_is_another_difference(
    code: Path, change: Callable[[Path], object]
) -> None:
    (code / "src" / "loop.py").write_text("step = 2\n")
    before = describe_repository(code)["differs"]
    change(code / "src" / "loop.py")
    found = describe_repository(code)["differs"]
    assert found["files"] == before["files"]
    assert found["sha256"] != before["sha256"]


def test_asking_writes_nothing(code: Path) -> None:
    for file in (code / "src").iterdir():
        os.utime(file, (1, 1))  # what git's index doesn't know yet, of the same content
    before = (code / ".git" / "index").stat().st_mtime_ns
    describe_repository(code)
    assert (code / ".git" / "index").stat().st_mtime_ns == before


def test_a_machine_without_git_is_named_as_the_reason(
    code: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert describe_repository(code) == {
        "commit": None,
        "unknown": "git is not installed",
        "dirty": None,
        "differs": None,
    }
