"""The world: its people, places and things, the facts that never change, and who is where."""

from dataclasses import dataclass, field

from trainyard.data.tinyworld.draw import Draw

Words = tuple[str, ...]

# Words of one kind have one length, so that no score that divides by an ending's length prefers one of them.
PEOPLE: Words = ("Ada", "Ben", "Eve", "Gus", "Ida", "Max", "Pia", "Tom")
PLACES: Words = ("Bath", "Bonn", "Cork", "Lima", "Lyon", "Oslo", "Riga", "Rome")
THINGS: Words = ("ball", "book", "coat", "drum", "kite", "lamp", "rope", "sack")
ANIMALS: Words = ("bees", "cats", "cows", "dogs", "hens", "mice", "owls", "pigs")
FOODS: Words = ("corn", "eggs", "figs", "pies", "nuts", "peas", "rice", "soup")
AIRS: Words = ("calm", "cold", "dark", "warm")
TIMES: Words = ("Morning", "Noon", "Evening")


@dataclass(frozen=True)
class World:
    """The facts of one world; each place is one person's home, each animal one person's."""

    homes: dict[str, str]
    animals: dict[str, str]
    foods: dict[str, str]

    @classmethod
    def of(cls, seed: int) -> "World":
        """The world of a seed, the same in every part and split."""
        draw = Draw(f"tinyworld {seed} facts")
        return cls(
            homes=dict(zip(PEOPLE, draw.shuffle(PLACES), strict=True)),
            animals=dict(zip(PEOPLE, draw.shuffle(ANIMALS), strict=True)),
            foods=dict(zip(PEOPLE, draw.shuffle(FOODS), strict=True)),
        )


@dataclass
class State:
    """What changes as a story is told: places of people, the last mover last, who carries what, and the weather."""

    places: dict[str, str] = field(default_factory=dict)
    carriers: dict[str, str] = field(default_factory=dict)
    airs: dict[str, str] = field(default_factory=dict)

    def move(self, person: str, place: str) -> str:
        """Move a person, with all that they carry; gives the sentence that tells it."""
        self.places.pop(person, None)
        self.places[person] = place
        return f"{person} went to {place}."

    def take(self, person: str, thing: str) -> str:
        """Let a person take a thing; gives the sentence that tells it."""
        self.carriers[thing] = person
        return f"{person} took the {thing}."

    def place_of(self, thing: str) -> str:
        """Where a thing is: with the person who carries it."""
        return self.places[self.carriers[thing]]

    def scene(self, place: str, draw: Draw) -> str:
        """A sentence that mentions a place and tells nothing of who is there; it stays true all day."""
        return f"{place} is {self.airs.setdefault(place, draw.choice(AIRS))}."

    def opening(self, place: str, draw: Draw) -> str:
        """The scene that every story starts with."""
        return f"Today {self.scene(place, draw)}"
