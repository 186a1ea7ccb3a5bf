"""Plain files are looked at before anything runs."""

import os
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from trainyard.config.catalogue import Dataset
from trainyard.core.errors import InputError
from trainyard.plan.plain_files import check_plain_file

PLACE = "config/datasets.yaml: mine.source.files.train"


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("data/parts").mkdir(parents=True)
    Path("data/train.txt").write_text("one\n")
    Path("data/dangling.txt").symlink_to("nowhere.txt")
    Path("data/link.txt").symlink_to("train.txt")
    return tmp_path


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("data/trian.txt", "data/trian.txt: no such file; did you mean data/train.txt?"),
        ("data/x", "data/x: no such file"),
        ("date/train.txt", "date/train.txt: no such file; date isn't there"),
        ("data/train.txt/x", "data/train.txt/x: no such file; data/train.txt isn't there"),
        ("data/part/train.txt", "data/part/train.txt: no such file; data/part isn't there"),
        ("data/*.jsonl", "data/*.jsonl: no such file"),
        ("data/parts", "data/parts is a folder; name one file"),
        ("/dev/null", "/dev/null is no file; name one file"),
        ("data/dangling.txt", "data/dangling.txt is a link to nothing (nowhere.txt); link it anew"),
        (f"data/{'x' * 300}", f"data/{'x' * 300}: File name too long"),
    ],
)
def test_a_file_that_is_none_is_refused_with_the_nearest(path: str, said: str) -> None:
    with pytest.raises(InputError) as error:
        check_plain_file(path, PLACE)
    assert str(error.value) == f"{PLACE}: {said}"


@pytest.mark.parametrize("path", ["data/train.txt", "./data/train.txt", "data/link.txt", "data/../data/train.txt"])
def test_a_file_that_is_there_is_taken(path: str) -> None:
    check_plain_file(path, PLACE)
    check_plain_file(str(Path(path).absolute()), PLACE)


def test_a_file_of_a_time_to_come_is_refused_until_it_is_touched() -> None:
    later = time.time() + 3 * 3600
    os.utime("data/train.txt", (later, later))
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(later))
    for path in ("data/train.txt", "data/link.txt"):
        with pytest.raises(InputError, match=rf"{path} is of {when}, later than now, .*: touch {path}"):
            check_plain_file(path, PLACE)
    Path("data/train.txt").touch()
    check_plain_file("data/link.txt", PLACE)


BRACES = "a path without braces, which stand for wildcards"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("data/{lang}.txt", BRACES),
        ("data/a}.txt", BRACES),
        ("a\nb.txt", BRACES),
        ("", "should be a path"),
        (" ", "should be a path"),
    ],
)
def test_a_path_that_snakemake_would_read_otherwise_is_refused_with_the_entry(path: str, said: str) -> None:
    entry: dict[str, Any] = {"title": "T", "kind": "text", "source": {"files": {"train": path}}}
    with pytest.raises(ValidationError, match=said):
        Dataset.model_validate({**entry, "splits": {"train": "train"}, "licence": "CC0"})
