"""From the searches of a study to the members of their generations, and to the runs that their winners are."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from trainyard.config.study import Tune
from trainyard.config.train import Train, fill_required
from trainyard.config.tune import FIXED, NOT_GIVEN, Method, Range, explain_not_searched
from trainyard.config.yaml_entries import parse, suggest
from trainyard.core.errors import InputError
from trainyard.plan.runs import RESULTS, Coordinates, Execution, Expansion, Run
from trainyard.tune.generations import Generation, expand_generations
from trainyard.tune.space import draw

MEMBER, WINNER = "member_", "winner_"
"""What the names of their folders begin with; no other run's does."""


@dataclass(frozen=True)
class Member(Execution):
    """One slot of one generation. Its specification lacks what the generation's file settles.

    Attributes:
        search: the name of the search.
        generation: which.
        slot: its number in it.
    """

    search: str
    generation: Generation
    slot: int

    @property
    def folder(self) -> str:
        """The folder of its declared outputs."""
        return f"{RESULTS}/{self.study}/{self.name}"


@dataclass(frozen=True)
class Search:
    """One search by one method.

    Attributes:
        tune: its entry.
        method: of those of the entry.
        winner: the run that it ends in.
        generations: in their order.
        members: of each generation, by slot.
    """

    study: str
    tune: Tune
    method: Method
    winner: Run
    generations: list[Generation]
    members: list[list[Member]]

    @property
    def name(self) -> str:
        """Of the recipe that it finds."""
        return recipe_name(self.tune, self.method)

    def file(self, generation: int) -> str:
        """Where it stands who trains from whose state in a generation."""
        return f"{RESULTS}/{self.study}/tune/{self.name}/generation{generation}.json"

    @property
    def files(self) -> list[str]:
        """Those of all generations."""
        return [self.file(generation.number) for generation in self.generations]

    @property
    def can_grow(self) -> bool:
        """Whether another generation would change no step of those that are there."""
        return not depends_on_length(self.winner.specification["train"], self.tune)


def recipe_name(tune: Tune, method: Method) -> str:
    """How the recipe is called that a search finds."""
    return f"{tune.name}-{method}"


def depends_on_length(train: dict[str, Any], tune: Tune) -> bool:
    """Whether the learning rate of a step depends on how many there are in all."""
    decays = {train["decay"], *(tune.over["decay"].ends if "decay" in tune.over else ())} != {"constant"}
    return decays or train["warmup_ratio"] is not None or "warmup_ratio" in tune.over


def check_tune(tune: Tune, location: str) -> None:
    """See that a search's settings can be; `location` is its file and key.

    Raises:
        InputError: they can't.
    """
    for key in NOT_GIVEN:
        if key in tune.train:
            raise InputError(f"{location}.train.{key}: {FIXED[key]}; remove the line")
    parse(Train, fill_required(tune.train), f"{location}.train")
    for name, values in tune.over.items():
        here = f"{location}.over.{name}"
        if name not in Train.model_fields:
            raise InputError(f"{here}: no such setting of training{suggest(name, Train.model_fields)}")
        if reason := explain_not_searched(name, tune.method):
            raise InputError(f"{here}: {reason}")
        if name in tune.train:
            raise InputError(f"{location}.train.{name}: is searched; remove it here or in over")
        for value in values.ends:
            parse(Train, fill_required({name: value}), here)
        if values.choice is None and not _takes_fractions(name, values):
            raise InputError(f"{here}: takes whole numbers alone, and a range has others; list them as choice")


def _takes_fractions(name: str, values: Range) -> bool:
    inner = draw({name: values}, lambda: 0.4142)
    try:
        Train.model_validate(fill_required(inner))
    except ValidationError:
        return False
    return True


def fill_searched(tune: Tune, steps: int) -> dict[str, Any]:
    """The settings of training with the whole length, and a value of each setting that is searched.

    It is the first, but of those that switch something on if any does: members whose parallel setting can't do that
    are unsupported, and are known to be before a search has chosen.
    """
    often = {"validate_every": tune.steps, "checkpoint_every": tune.steps}
    return {**often, **tune.train, **{name: _usual(values) for name, values in tune.over.items()}, "steps": steps}


def _usual(values: Range) -> Any:
    on = [value for value in values.ends if value is not None and value is not False]
    return (on or values.ends)[0]


def expand_searches(expansion: Expansion) -> dict[str, Search]:
    """Every search by every of its methods, by name.

    Raises:
        InputError: a name that no catalogue has, or settings that can't be, or that can't be searched.
    """
    searches: dict[str, Search] = {}
    for number, tune in enumerate(expansion.study.tune):
        location = f"{expansion.place}: tune.{number}"
        check_tune(tune, location)
        for method in tune.method:
            search = _expand_search(expansion, tune, method, location)
            if search.name in searches:
                raise InputError(f"{location}.name: there are two searches {search.name}; give one another name")
            searches[search.name] = search
    return searches


def _expand_search(expansion: Expansion, tune: Tune, method: Method, location: str) -> Search:
    generations = expand_generations(tune, method)
    settings = fill_searched(tune, generations[-1].until)
    train = parse(Train, settings, f"{location}.train")
    recipe = recipe_name(tune, method)
    at = Coordinates(tune.dataset, tune.model, tune.parallel, tune.processes, tune.precision, recipe, tune.seed)

    def make(train: Train) -> Run:
        return expansion.make_run(at, train, tune.threads, "run", location, tune.evaluate or expansion.study.evaluate)

    run = make(train)
    for name, values in tune.over.items():
        for value in values.ends:  # what doesn't suit the dataset, the model or the length is refused here
            make(parse(Train, settings | {name: value}, f"{location}.over.{name}"))
    if run.specification["data"]["validation"] is None:
        raise InputError(f"{location}.dataset: {tune.dataset} has no split 'validation' to judge members by")
    own = {"run": WINNER + run.name, "search": {"name": tune.name, "method": method}}
    winner = replace(run, name=own["run"], specification=run.specification | own)
    search = Search(expansion.study_name, tune, method, winner, generations, [])
    search.members.extend(list(_expand_generation(search, generation)) for generation in generations)
    return search


def _warmup_steps(search: Search) -> list[int]:
    """Every number of steps of warm-up that a member may have."""
    searched = search.tune.over.get("warmup_steps")
    given = searched.ends if searched else [search.winner.specification["train"]["warmup_steps"]]
    return [number or 0 for number in given]


def _expand_generation(search: Search, generation: Generation) -> Iterator[Member]:
    winner = search.winner
    train = winner.specification["train"]
    if search.can_grow:  # or another generation would be another length, and so another specification of each before
        train = train | {"steps": max(generation.until, *_warmup_steps(search))}
    for slot in range(1, generation.slots + 1):
        name = f"{MEMBER}{search.name}_g{generation.number}_s{slot}"
        own = {"run": name, "kind": "member", "until": generation.until, "train": train}
        place = winner.specification["search"] | {"generation": generation.number, "slot": slot}
        specification = winner.specification | own | {"search": place}
        yield Member(search.study, name, specification, search.name, generation, slot)
