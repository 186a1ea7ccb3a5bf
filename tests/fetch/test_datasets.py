"""Datasets of a hub that misbehaves: each ends in the right rows, or in one sentence in bounded time."""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from layouts import LAYOUTS, REFUSED, lay

from .conftest import ROWS, Client, Source, parquet
from .server import (
    COMMIT,
    Fault,
    Halfway,
    Hub,
    Repository,
    cut,
    empty,
    page,
    redirects,
    reset,
    shorter,
    slow,
    stalls,
    stalls_halfway,
    status,
    wrong,
)

pytestmark = pytest.mark.slow

Record = Callable[[str, object], None]
# what is asked of the hub, in order
COMMIT_OF = "GET /api/datasets/.*/revision/main$"
CARD = "HEAD .*/README.md$"
TREE = "GET .*/tree/"
STATED = "POST .*/paths-info/"
HEAD = "HEAD .*/train-00000"
FILE = "GET .*/train-00000"
SMALL_FILE = "GET .*/train-00001"  # one whose hash is git's
BUSY = status(429, Retry_After="1")


def test_a_split_s_rows_come_with_the_commit(source: Source) -> None:
    answer = source.ask()
    assert (answer["revision"], answer["rows"]) == (COMMIT, ROWS)
    assert source.ask(split="validation")["rows"] == ROWS[90:]


@pytest.mark.parametrize(
    ("place", "faults"),
    [
        (COMMIT_OF, [status(500), stalls, page, redirects]),
        (COMMIT_OF, [BUSY, empty, status(503)]),
        (CARD, [status(500), page]),
        (TREE, [status(502), page]),
        (TREE, [stalls]),
        (STATED, [status(500), BUSY, stalls, page]),
        (HEAD, [status(500)]),
        (HEAD, [stalls]),
        (HEAD, [page, redirects]),
        (FILE, [status(500), page, empty, shorter]),
        (FILE, [BUSY]),
        (FILE, [stalls]),
        (FILE, [cut]),
        (FILE, [reset]),
        (FILE, [stalls_halfway]),
        (FILE, [wrong]),
        (SMALL_FILE, [wrong]),
        (FILE, [slow]),
    ],
)
def test_a_fault_that_passes_changes_no_row(
    source: Source, place: str, faults: list[Fault], record_property: Record
) -> None:
    source.hub.misbehave(place, *faults)
    answer = source.ask()
    assert answer.get("rows") == ROWS, answer
    assert answer["seconds"] < 30  # a stalled answer would take a minute
    assert source.hub.injected == len(faults)
    record_property("faults injected", len(faults))
    record_property("runs recovered", 1)


@pytest.mark.parametrize(
    ("place", "fault", "message"),
    [
        (COMMIT_OF, status(500), "{set} (revision main): the hub can't be reached (5 attempts; Server error '500"),
        (COMMIT_OF, stalls, "{set} (revision main): the hub can't be reached (5 attempts; timed out"),
        (COMMIT_OF, page, "{set} (revision main): the hub can't be reached (5 attempts; its answer can't be read"),
        (COMMIT_OF, redirects, "{set} (revision main): the hub can't be reached (5 attempts; Exceeded maximum"),
        (FILE, status(500), "data/train-00000-of-00002.parquet: the hub can't be reached (5 attempts; Server error"),
        (FILE, page, "data/train-00000-of-00002.parquet: the hub can't be reached (5 attempts; Consistency check"),
        (FILE, reset, "data/train-00000-of-00002.parquet: the hub can't be reached (5 attempts; "),
        (FILE, wrong, "data/train-00000-of-00002.parquet: came with SHA-256"),
        (SMALL_FILE, wrong, "data/train-00001-of-00002.parquet: came with git hash"),
    ],
)
def test_a_fault_that_stays_is_one_sentence_in_bounded_time(
    source: Source, place: str, fault: Fault, message: str, record_property: Record
) -> None:
    source.hub.misbehave(place, *[fault] * 200)
    answer = source.ask()
    assert message.format(set=f"org/{source.name}") in answer["error"]
    assert "set `mirror`" in answer["error"]
    assert answer["seconds"] < 60
    assert not list((source.folder / "rows").glob("*"))
    record_property("faults injected", 1)


def test_the_hub_s_wish_to_wait_is_heard(source: Source, record_property: Record) -> None:
    source.hub.misbehave(COMMIT_OF, status(429, Retry_After="2"))
    answer = source.ask()
    assert answer["rows"] == ROWS
    assert answer["seconds"] >= 2
    record_property("faults injected", 1)
    record_property("runs recovered", 1)


def test_a_wish_to_wait_for_a_day_is_not(source: Source, record_property: Record) -> None:
    for place in (COMMIT_OF, FILE):
        source.hub.misbehave(place, status(429, Retry_After="86400"))
    assert source.ask()["rows"] == ROWS
    record_property("faults injected", 2)
    record_property("runs recovered", 1)


def test_what_will_not_pass_is_not_asked_again(source: Source) -> None:
    error = source.ask(entry=source.order()["entry"] | {"splits": {"train": "nosuch"}})["error"]
    assert "no split 'nosuch'; there are train (data/train-00000-of-00002.parquet, data/train-0" in error
    assert "), test (data/test-0" in error
    del source.hub.repositories[f"datasets/org/{source.name}"]
    source.lock.unlink(missing_ok=True)
    source.hub.asked.clear()
    assert f"org/{source.name} (revision main): " in source.ask()["error"]
    assert source.hub.times(COMMIT_OF) == 1


def _asked(source: Source, folder: Path, files: list[str], split: str, about: dict[str, str]) -> dict[str, Any]:
    """What comes of a layout that the hub has."""
    lay(folder, files)
    held = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    source.serve(Repository(held))
    entry = source.order()["entry"]
    entry |= {"source": {**entry["source"], **about}, "splits": {"train": split}}
    return source.ask(entry=entry, lock=str(folder.parent / f"{folder.name} {split}.yaml"))


@pytest.mark.parametrize("name", LAYOUTS)
def test_splits_are_those_of_the_datasets_library(source: Source, tmp_path: Path, name: str) -> None:
    files, about, expected = LAYOUTS[name]
    for split, paths in expected.items():
        answer = _asked(source, tmp_path / "layout", files, split, about)
        assert answer.get("rows") == [f"{path} {number}" for path in paths for number in (1, 2)], answer


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_library_mixes_or_cannot_be_read_is_refused_by_the_file(
    source: Source, tmp_path: Path, name: str
) -> None:
    files, about, message = REFUSED[name]
    error = _asked(source, tmp_path / "layout", files, "train", about)["error"]
    assert re.search(message, error), error
    assert error.startswith(f"org/{source.name} (revision")


def test_no_hub_at_all_ends_with_a_sentence(source: Source, tmp_path: Path) -> None:
    alone = Client("http://127.0.0.1:9", tmp_path / "alone")
    try:
        alone.tell(**source.order())
        assert "(revision main): the hub can't be reached (5 attempts" in alone.answer()["error"]
    finally:
        alone.close()


def test_half_of_a_long_file_goes_on_where_it_was_cut(
    source: Source, new_client: Callable[..., Client], record_property: Record
) -> None:
    rows = [f"{number} " + hashlib.sha256(b"%d" % number).hexdigest() * 8000 for number in range(60)]
    name = "data/train-00000-of-00001.parquet"
    data = parquet(rows)
    assert len(data) > 25_000_000  # huggingface_hub keeps what it has in pieces of ten megabytes
    source.serve(Repository({name: data}, frozenset([name])))
    source.hub.misbehave(FILE, cut)
    client = new_client()
    client.tell(**source.order())
    assert client.answer()["rows"] == rows
    assert source.hub.ranges(FILE) == ["bytes=10485760-"]
    record_property("faults injected", 1)
    record_property("runs recovered", 1)


def test_a_download_killed_halfway_goes_on(
    source: Source, new_client: Callable[..., Client], record_property: Record
) -> None:
    halfway = Halfway()
    source.hub.misbehave(SMALL_FILE, halfway)
    killed = new_client()
    killed.tell(**source.order())
    assert halfway.reached.wait(120)
    killed.process.kill()
    killed.process.wait(60)
    assert not list((source.folder / "rows").glob("*.parquet"))
    assert not source.lock.exists()
    after = new_client()
    after.tell(**source.order())
    assert after.answer()["rows"] == ROWS
    # what came whole before is not fetched again
    assert (source.hub.times(FILE), source.hub.times(SMALL_FILE)) == (1, 2)
    record_property("faults injected", 1)
    record_property("runs recovered", 1)


def test_the_lock_s_commit_is_asked_for_and_nothing_but_its_files(
    source: Source, new_client: Callable[..., Client]
) -> None:
    assert source.ask()["rows"] == ROWS
    assert f"commit: {COMMIT}" in source.lock.read_text()
    source.hub.asked.clear()
    elsewhere = new_client()  # with an empty cache
    elsewhere.tell(**source.order())
    answer = elsewhere.answer()
    assert (answer["revision"], answer["rows"]) == (COMMIT, ROWS)
    asked = [path for _, path, _ in source.hub.asked if source.name in path]
    assert all("/paths-info/" in path or re.search(rf"/resolve/{COMMIT}/data/train-", path) for path in asked), asked


def test_with_the_lock_and_a_full_cache_the_hub_is_not_asked(source: Source, new_client: Callable[..., Client]) -> None:
    online = new_client()
    online.tell(**source.order())
    assert online.answer()["rows"] == ROWS
    source.hub.asked.clear()
    offline = new_client(HF_HUB_OFFLINE="1")
    offline.tell(**source.order())
    assert offline.answer()["rows"] == ROWS
    assert not source.hub.asked


def test_a_damaged_file_of_the_cache_is_fetched_anew(
    source: Source, new_client: Callable[..., Client], record_property: Record
) -> None:
    client = new_client()
    client.tell(**source.order())
    assert client.answer()["rows"] == ROWS
    for file in client.home.glob(f"hub/datasets--org--{source.name}/snapshots/{COMMIT}/data/train-*"):
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.resolve().write_bytes(data)
    client.tell(**source.order())
    assert client.answer()["rows"] == ROWS
    assert (source.hub.times(FILE), source.hub.times(SMALL_FILE)) == (2, 2)
    record_property("faults injected", 2)
    record_property("runs recovered", 1)


def test_other_bytes_under_the_recorded_commit_are_refused(source: Source, new_client: Callable[..., Client]) -> None:
    assert source.ask()["rows"] == ROWS
    name = "data/train-00000-of-00002.parquet"
    repository = source.hub.repositories[f"datasets/org/{source.name}"]
    repository.files[name] = parquet([text.upper() for text in ROWS[:60]])
    elsewhere = new_client()
    elsewhere.tell(**source.order())
    error = elsewhere.answer()["error"]
    sizes = f"{len(repository.files[name]):,} bytes, SHA-256 {hashlib.sha256(repository.files[name]).hexdigest()}"
    assert f"dataset {source.name} (hub org/{source.name} at main) isn't what was recorded: {name} has {sizes}" in error
    assert f"make accept-data DATA={source.name} ORIGIN=hub" in error


def test_two_splits_at_once_are_both_recorded(source: Source, hub: Hub, new_client: Callable[..., Client]) -> None:
    clients = {split: new_client() for split in ("train", "test")}
    for split, client in clients.items():
        client.tell(**source.order(split=split))
    assert [client.answer().get("rows") for client in clients.values()] == [ROWS, ["one", "two"]]
    text = source.lock.read_text()
    assert all(name in text for name in hub.repositories[f"datasets/org/{source.name}"].files)
