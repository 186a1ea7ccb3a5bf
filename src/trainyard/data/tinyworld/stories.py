"""Stories: the text that a language model learns the world and its ways from."""

from trainyard.data.tinyworld.draw import Draw
from trainyard.data.tinyworld.world import PEOPLE, PLACES, THINGS, TIMES, State, World

# Chances in percent. Each round of events may end with a scene, so that the last place told is a poor guess. Half of
# the reports start with the last mover: the easiest of all states, from which a model learns to look for the others.
TAKE, SCENE = 15, 60
LAST_MOVER_FIRST, FACT = 50, 80


def story(world: World, draw: Draw) -> list[str]:
    """The sentences of one story: an opening, then rounds of events, each told again as a state."""
    state = State()
    cast = draw.sample(PEOPLE, 2 + draw.randbelow(3))
    sentences = [state.opening(draw.choice(PLACES), draw), state.move(cast[0], draw.choice(PLACES))]
    for _ in range(2):
        sentences += [_event(state, cast, draw) for _ in range(1 + draw.randbelow(3))]
        if draw.randbelow(100) < SCENE:
            sentences.append(state.scene(draw.choice(PLACES), draw))
        sentences += _reports(world, state, draw)
    return sentences


def _event(state: State, cast: list[str], draw: Draw) -> str:
    free = [thing for thing in THINGS if thing not in state.carriers]
    if draw.randbelow(100) < TAKE:
        return state.take(draw.choice(list(state.places)), draw.choice(free))
    person = draw.choice(cast)
    return state.move(person, draw.choice([place for place in PLACES if place != state.places.get(person)]))


def _reports(world: World, state: State, draw: Draw) -> list[str]:
    """One to four sentences that follow from the state or from the facts, none of them twice."""
    people = [f"{person} is in {place}." for person, place in state.places.items()]
    things = [f"The {thing} is in {state.place_of(thing)}." for thing in state.carriers]
    known = people + things
    told = draw.sample(known, min(len(known), 2 + draw.randbelow(2)))
    if draw.randbelow(100) < LAST_MOVER_FIRST:
        told = [people[-1], *[sentence for sentence in told if sentence != people[-1]]]
    if draw.randbelow(100) < FACT:
        told.insert(draw.randbelow(len(told) + 1), fact(world, draw.choice(PEOPLE), draw))
    return told


def fact(world: World, person: str, draw: Draw) -> str:
    """One of the three facts about a person."""
    return (
        f"{person} lives in {world.homes[person]}.",
        f"{person} keeps {world.animals[person]}.",
        f"{person} likes {world.foods[person]}.",
    )[draw.randbelow(3)]


def text(sentences: list[str], draw: Draw) -> str:
    """A story's sentences as a row of text: half of them start with a title."""
    title = f"{draw.choice(TIMES)}: " if draw.randbelow(2) else ""
    return title + " ".join(sentences)
