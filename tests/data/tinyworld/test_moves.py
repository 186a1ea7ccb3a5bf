"""Rules that look at the order of the moves alone, and what they score on each level."""

import re

import pytest

from trainyard.data.tinyworld import rows

MOVE, TAKING = re.compile(r"(\w+) went to (\w+)\."), re.compile(r"(\w+) took the ")
ITEMS = {
    level: [row for row in rows("endings", "test", 4000, 0) if row["level"] == level]
    for level in ("facts", "last-move", "earlier-move", "carried")
}


def score(level: str, cities: list[str]) -> float:
    """How often the city is the answer; a guess where it is no ending, or there is none."""
    points = []
    for row, city in zip(ITEMS[level], cities, strict=True):
        there = f"in {city}." in row["endings"]
        points.append(float(row["endings"][row["label"]] == f"in {city}.") if there else 0.25)
    return sum(points) / len(points)


@pytest.mark.parametrize(
    ("level", "stated"),
    [
        ("facts", (0.25, 0.25, 0.25, 0.25)),
        ("last-move", (0, 0, 0, 1)),
        ("earlier-move", (1 / 3, 1 / 3, 1 / 3, 0)),
        ("carried", (0.25, 0.25, 0.25, 0.25)),
    ],
)
def test_the_city_of_one_move_of_the_four_scores_as_stated(level: str, stated: tuple[float, ...]) -> None:
    """1000 items: one standard error is at most 0.015, the bound three of them; what is 0 or 1 is so exactly."""
    for number, expected in enumerate(stated):
        found = score(level, [MOVE.findall(row["ctx_a"])[number][1] for row in ITEMS[level]])
        assert abs(found - expected) <= (0.045 if 0 < expected < 1 else 0), number


def test_no_move_counted_from_the_taking_and_no_first_move_of_the_carrier_tells_where_a_thing_is() -> None:
    """1000 items: one standard error is at most 0.014, the bound three of them."""
    found: dict[str, list[str]] = {"after": [], "second after": [], "before": [], "carrier's first": []}
    for row in ITEMS["carried"]:
        taking = TAKING.search(row["ctx_a"])
        assert taking
        before = [city for _, city in MOVE.findall(row["ctx_a"][: taking.start()])]
        after = [city for _, city in MOVE.findall(row["ctx_a"][taking.end() :])]
        found["after"].append(after[0])
        found["second after"].append(after[1])
        found["before"].append(before[-1] if before else "")
        found["carrier's first"].append(dict(reversed(MOVE.findall(row["ctx_a"])))[taking[1]])
    for rule, cities in found.items():
        assert abs(score("carried", cities) - 0.25) <= 0.041, rule


def test_most_things_move_after_they_were_taken() -> None:
    moved = 0
    for row in ITEMS["carried"]:
        taking = TAKING.search(row["ctx_a"])
        assert taking
        moved += taking[1] in [person for person, _ in MOVE.findall(row["ctx_a"][taking.end() :])]
    assert abs(moved / len(ITEMS["carried"]) - 0.75) <= 0.041
