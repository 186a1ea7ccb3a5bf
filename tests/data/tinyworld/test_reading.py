"""A reader that knows the words but not the generator, and has read the training stories."""

import re
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from trainyard.data.tinyworld import Split, rows

SENTENCE = re.compile(r"[^.?!]+[.?!]")
FACT = re.compile(r"(\w+) (lives in|keeps|likes) (\w+)\.")


@dataclass
class Reader:
    """Knows the facts that it was told, and follows who is where."""

    facts: dict[tuple[str, str], str] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    carriers: dict[str, str] = field(default_factory=dict)

    def listen(self, sentence: str) -> None:
        """Take in a sentence; one that tells a state or a fact again must agree with what is known."""
        match sentence.rstrip(".").split():
            case [person, "went", "to", place]:
                self.places[person] = place
            case [person, "took", "the", thing]:
                self.carriers[thing] = person
            case _:
                assert self.agrees(sentence), sentence

    def agrees(self, sentence: str) -> bool:
        match sentence.rstrip(".").split():
            case ["The", thing, "is", "in", place]:
                return self.places[self.carriers[thing]] == place
            case [person, "is", "in", place]:
                return self.places[person] == place
            case [person, "lives", "in", word] | [person, ("keeps" | "likes"), word]:
                return self.facts[person, sentence.split()[1]] == word
            case ["Today", _, "is", _] | [_, "is", _]:
                return True
        raise AssertionError(f"unknown sentence: {sentence}")


def sentences(text: str) -> list[str]:
    return [found.strip() for found in SENTENCE.findall(re.sub(r"^\w+: ", "", text))]


@pytest.fixture(scope="module")
def facts() -> dict[tuple[str, str], str]:
    """The facts as the training stories tell them, each always the same."""
    known: dict[tuple[str, str], str] = {}
    for row in rows("stories", "train", 3000, 0):
        for person, verb, word in FACT.findall(row["text"]):
            assert known.setdefault((person, verb.split()[0]), word) == word
    return known


def test_the_training_stories_tell_every_fact(facts: dict[tuple[str, str], str]) -> None:
    assert len(facts) == 8 * 3


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_every_state_and_fact_in_a_story_is_true(split: Split, facts: dict[tuple[str, str], str]) -> None:
    for row in rows("stories", split, 1000, 0):
        reader = Reader(facts)
        for sentence in sentences(row["text"]):
            reader.listen(sentence)


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_perfect_reader_answers_every_item_right(split: Split, facts: dict[tuple[str, str], str]) -> None:
    for row in rows("endings", split, 2000, 0):
        reader = Reader(facts)
        for sentence in sentences(row["ctx_a"]):
            reader.listen(sentence)
        agreeing = [index for index, ending in enumerate(row["endings"]) if reader.agrees(f"{row['ctx_b']} {ending}")]
        assert agreeing == [row["label"]], row


def test_an_items_columns_fit_both_protocols() -> None:
    for row in rows("endings", "validation", 400, 0):
        assert row["ctx"] == f"{row['ctx_a']} {row['ctx_b']}"
        assert row["ctx_b"].capitalize() == row["ctx_b"]
        assert len(set(row["endings"])) == 4
        assert len({len(ending) for ending in row["endings"]}) == 1


def test_the_stories_carry_the_titles_of_the_items() -> None:
    titles = {row["text"].partition(": ")[0] for row in rows("stories", "train", 500, 0) if ": " in row["text"]}
    assert {row["activity_label"] for row in rows("endings", "test", 500, 0)} == titles


def test_places_are_asked_for_among_four_that_the_context_mentions() -> None:
    for row in rows("endings", "test", 1000, 0):
        if row["endings"][0].startswith("in "):
            assert all(re.search(rf"\b{ending[3:-1]}\b", row["ctx"]) for ending in row["endings"])
        else:
            assert not any(re.search(rf"\b{ending[:-1]}\b", row["ctx"]) for ending in row["endings"])


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_summary_is_what_a_perfect_reader_of_the_chat_says(split: Split) -> None:
    for row in rows("dialogues", split, 1000, 0):
        assert " ".join(summary(row["source"])) == row["target"]


def summary(source: str) -> list[str]:
    told = []
    turns = [line.split(": ", 1) for line in source.split("\n")]
    for (_, question), (speaker, answer) in pairwise(turns):
        place = re.sub(r".* ", "", answer).rstrip(".")
        if question == "Where are you?":
            told.append(f"{speaker} is in {place}.")
        elif found := re.fullmatch(r"Where is (\w+)\?", question):
            told.append(f"{found[1]} is in {place}.")
        elif found := re.fullmatch(r"Who has the (\w+)\?", question):
            told.append(f"{speaker} has the {found[1]} in {place}.")
    return told
