import hashlib
import json
import os
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

import trainyard
from trainyard.data.tinyworld import Part, Split, rows

PARTS: tuple[Part, ...] = ("stories", "endings", "dialogues")
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
COUNT = 2000
GOLDEN: dict[tuple[Part, Split, int], str] = {
    ("stories", "train", 0): "f46c48aa4ac012f34ceeda1d4a9abc925e8337c03cfe8fcad14ea7411b766dff",
    ("stories", "test", 0): "0d743384e7360584a655af77428b6cc562f18420b32953594c445d9906034607",
    ("stories", "train", 7): "c365bb992e2c4899547e53e22908bfd8ffceda10a1a1e76f5755cac6ea0f928e",
    ("endings", "train", 0): "6b7e147ca9449cf05176f417be8aa15d18cbce109a84e4927c2584a82de4572f",
    ("endings", "test", 0): "d16f30e011259d8de151a79df3bfc07b18965a865ff39c94fb5ecef023db16bf",
    ("endings", "train", 7): "a764e738daffa57756d4dfbf5cc922318d7e259ef5f715722e0008865a78b17d",
    ("dialogues", "train", 0): "1f1a2782bbb230429eb400471f29c13ec5d73bb4d5612a778d7d7b5879b60ef6",
    ("dialogues", "test", 0): "ca596b970ae990b5950089a7d53872b637300e792ade42bf635b5dcd2703995f",
    ("dialogues", "train", 7): "901bf313f62137227df87f0221bdc460d5f00096ef73d2b8cc1e2d1e30d5db15",
}


def digest(part: Part, split: Split, seed: int) -> str:
    lines = [json.dumps(row, sort_keys=True) for row in rows(part, split, COUNT, seed)]
    assert len(lines) == COUNT
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


@pytest.mark.parametrize(("part", "split", "seed"), GOLDEN)
def test_a_seed_gives_these_rows_and_no_others(part: Part, split: Split, seed: int) -> None:
    assert digest(part, split, seed) == GOLDEN[part, split, seed]


@pytest.mark.parametrize("part", PARTS)
def test_another_process_with_another_hash_seed_gives_the_same_rows(part: Part) -> None:
    paths = [str(Path(trainyard.__file__).parents[1]), str(Path(__file__).parent)]
    output = subprocess.run(
        [sys.executable, "-c", f"from test_rows import digest; print(digest({part!r}, 'test', 0))"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert output.strip() == digest(part, "test", 0)


@pytest.mark.parametrize("part", PARTS)
def test_fewer_rows_are_the_beginning_of_more(part: Part) -> None:
    assert list(rows(part, "train", 50, 0)) == list(islice(rows(part, "train", 500, 0), 50))


@pytest.mark.parametrize("part", PARTS)
def test_no_row_comes_twice_in_a_split(part: Part) -> None:
    contents = [json.dumps({**row, "id": ""}) for row in rows(part, "train", 5000, 0)]
    assert len(set(contents)) == len(contents)


def opening(text: str) -> str:
    return ". ".join(text.partition("Today ")[2].split(". ")[:3])


def test_no_story_of_one_split_opens_as_one_of_another() -> None:
    openings = [{opening(row["text"]) for row in rows("stories", split, 5000, 0)} for split in SPLITS]
    assert not openings[0] & openings[1]
    assert not openings[0] & openings[2]
    assert not openings[1] & openings[2]


def test_no_item_of_a_split_opens_as_a_story_of_another() -> None:
    stories = {opening(row["text"]) for row in rows("stories", "train", 20_000, 0)}
    items = {opening(row["ctx"]) for row in rows("endings", "test", 2000, 0)}
    assert not stories & items


def test_no_chat_is_in_two_splits() -> None:
    chats = [{row["source"].split("\n", 3)[3] for row in rows("dialogues", split, 3000, 0)} for split in SPLITS]
    assert not chats[0] & chats[1]
    assert not chats[0] & chats[2]
    assert not chats[1] & chats[2]


def test_another_seed_is_another_world() -> None:
    assert next(rows("stories", "train", 1, 0)) != next(rows("stories", "train", 1, 1))


@pytest.mark.parametrize("split", SPLITS)
def test_the_levels_come_in_turn(split: Split) -> None:
    levels = [row["level"] for row in rows("endings", split, 8, 0)]
    assert levels == ["facts", "last-move", "earlier-move", "carried"] * 2
