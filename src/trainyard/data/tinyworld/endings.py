"""Four-way endings in HellaSwag's form: exactly one agrees with the state of the world."""

from dataclasses import dataclass

from trainyard.data.tinyworld.draw import Draw
from trainyard.data.tinyworld.world import (
    ANIMALS,
    FOODS,
    PEOPLE,
    PLACES,
    THINGS,
    TIMES,
    State,
    World,
)

LEVELS = ("facts", "last-move", "earlier-move", "carried")


@dataclass(frozen=True)
class Item:
    """A context in sentences, the words that the endings complete, and the endings."""

    label: str
    context: list[str]
    question: str
    endings: list[str]
    right: int
    level: str

    def row(self, name: str) -> dict[str, object]:
        """The item with the columns of HellaSwag."""
        told = " ".join(self.context)
        return {
            "id": name,
            "activity_label": self.label,
            "ctx_a": told,
            "ctx_b": self.question,
            "ctx": f"{told} {self.question}",
            "endings": self.endings,
            "label": self.right,
            "level": self.level,
        }


def item(world: World, level: str, draw: Draw) -> Item:
    """One item of a level.

    Every context tells four moves to four different places, between two scenes, each at
    any of the four. Where a place is asked for, those four are the endings: each is
    mentioned, and each is as likely to be the first, the last or the most mentioned.
    """
    return _fact(world, draw) if level == "facts" else _whereabouts(level, draw)


def _fact(world: World, draw: Draw) -> Item:
    """A fact is asked for after moves that have nothing to do with it."""
    person, *others = draw.sample(PEOPLE, 4)
    facts, words, question, form = (
        (world.homes, PLACES, f"{person} lives", "in {}."),
        (world.animals, ANIMALS, f"{person} keeps", "{}."),
        (world.foods, FOODS, f"{person} likes", "{}."),
    )[draw.randbelow(3)]
    right = facts[person]
    choices = [right, *draw.sample([word for word in words if word != right], 3)]
    places = draw.shuffle(choices) if words is PLACES else draw.sample(PLACES, 4)
    state = State()
    moves = _moves(state, draw.shuffle([person, *others]), places)
    return _item("facts", _between_scenes(state, moves, places, draw), question, choices, form, draw)


def _whereabouts(level: str, draw: Draw) -> Item:
    """Where a person, or a thing that a person carries, is after the moves."""
    movers, asked = _MOVERS[level](draw)
    places = draw.sample(PLACES, 4)
    state = State()
    moves = _moves(state, movers, places)
    subject = movers[asked]
    if level == "carried":
        thing = draw.choice(THINGS)
        moves.insert(draw.randbelow(3), state.take(subject, thing))
        subject = f"The {thing}"
    choices = [places[asked], *(place for place in places if place != places[asked])]
    return _item(level, _between_scenes(state, moves, places, draw), f"{subject} is", choices, "in {}.", draw)


def _moves(state: State, movers: list[str], places: list[str]) -> list[str]:
    return [state.move(person, place) for person, place in zip(movers, places, strict=True)]


def _between_scenes(state: State, moves: list[str], places: list[str], draw: Draw) -> list[str]:
    return [state.opening(draw.choice(places), draw), *moves, state.scene(draw.choice(places), draw)]


def _item(level: str, context: list[str], question: str, choices: list[str], form: str, draw: Draw) -> Item:
    """The item whose right ending is made of the first of `choices`."""
    order = draw.shuffle(range(4))
    endings = [form.format(choices[index]) for index in order]
    return Item(draw.choice(TIMES), context, question, endings, order.index(0), level)


def _ask_last(draw: Draw) -> tuple[list[str], int]:
    """The last mover is asked for; in half of the items they moved before, too."""
    people = draw.sample(PEOPLE, 4)
    if draw.randbelow(2):
        people[draw.randbelow(3)] = people[3]
    return people, 3


def _ask_earlier(draw: Draw) -> tuple[list[str], int]:
    """One of the first three movers is asked for, who does not move again; half may have moved before, too."""
    people = draw.sample(PEOPLE, 4)
    asked = draw.randbelow(3)
    if asked and draw.randbelow(2):
        people[draw.randbelow(asked)] = people[asked]
    return people, asked


def _ask_carried(draw: Draw) -> tuple[list[str], int]:
    """The carrier's last move is any of the four, whenever the thing was taken; they moved before it, if they could.

    So no move is likelier than another to be the right one, counted from the start, the
    end or the taking, and the carrier's first move is right no more often than by chance.
    """
    people = draw.sample(PEOPLE, 4)
    asked = draw.randbelow(4)
    if asked:
        people[draw.randbelow(asked)] = people[asked]
    return people, asked


_MOVERS = {"last-move": _ask_last, "earlier-move": _ask_earlier, "carried": _ask_carried}
