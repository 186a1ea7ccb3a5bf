"""Dialogues: short chats, and a summary that says what follows from them."""

from trainyard.data.tinyworld.draw import Draw
from trainyard.data.tinyworld.world import AIRS, PEOPLE, PLACES, THINGS, State

GREETINGS = ("Hello {}!", "Good day, {}!", "Hi {}, how are you?")
ANSWERS = ("Hello {}!", "Hi {}, I am fine.", "Good to hear you, {}!")
FAREWELLS = ("See you soon!", "Thank you!", "Bye for now!")


def dialogue(draw: Draw) -> tuple[list[str], str]:
    """The lines of a chat, and its summary.

    Two friends greet each other, talk of where they or a third person are now, and
    part. The summary tells the last state of whom and what they spoke of, in the
    order of the chat.
    """
    asker, other, third = draw.sample(PEOPLE, 3)
    state = State()
    lines = [
        f"{asker}: {draw.choice(GREETINGS).format(other)}",
        f"{other}: {draw.choice(ANSWERS).format(asker)}",
        f"{other}: It is {draw.choice(AIRS)} today.",
    ]
    summary = []
    for topic in draw.sample((_speaker, _third, _thing), 2):
        chat, sentence = topic(state, asker, other, third, draw)
        lines += chat
        summary.append(sentence)
    lines.append(f"{asker}: {draw.choice(FAREWELLS)}")
    return lines, " ".join(summary)


def _speaker(state: State, asker: str, other: str, third: str, draw: Draw) -> tuple[list[str], str]:
    place = state.places.setdefault(other, draw.choice(PLACES))
    return [f"{asker}: Where are you?", f"{other}: I am in {place}."], f"{other} is in {place}."


def _third(state: State, asker: str, other: str, third: str, draw: Draw) -> tuple[list[str], str]:
    before, place = draw.sample(PLACES, 2)
    told = f"{third} went to {place}."
    if draw.randbelow(2):
        told = f"{third} went to {before}, and then to {place}."
    return [f"{asker}: Where is {third}?", f"{other}: {told}"], f"{third} is in {place}."


def _thing(state: State, asker: str, other: str, third: str, draw: Draw) -> tuple[list[str], str]:
    thing = draw.choice(THINGS)
    place = state.places.setdefault(other, draw.choice(PLACES))
    chat = [f"{asker}: Who has the {thing}?", f"{other}: I took it with me to {place}."]
    return chat, f"{other} has the {thing} in {place}."
