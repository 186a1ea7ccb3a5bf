"""A search whose members are killed again and again finds the same winner by the same lineage, to the last bit."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from kills import Kill, kill_at, kill_by_chance
from trainings import Job

from trainyard.config.study import Tune
from trainyard.core.files import read_json, sha256_file
from trainyard.train.spec import Specification
from trainyard.tune.generations import describe_search, expand_generations
from trainyard.tune.member import resolve
from trainyard.tune.select import select
from trainyard.tune.winner import write_winner

# of each member, one after another: who is killed when
KILLS = [
    [("rank", "start"), ("launcher", "copying")],
    [("launcher", "step"), ("rank", "checkpoint")],
    [("rank", "export"), ("launcher", "start")],
    [("launcher", "checkpoint"), ("rank", "step")],
]
AFTER = {"start": 0, "copying": 0}  # steps; one elsewhere
MANY, ROWS, SECONDS = 50, 12, 6.0
TUNE = {
    "name": "rate",
    "dataset": "counting",
    "model": "tiny",
    "members": 2,
    "generations": 2,
    "steps": 30,
    "over": {
        "learning_rate": {"log": [1e-3, 1e-2]},
        "weight_decay": {"linear": [0.0, 0.5]},
        "dropout": {"choice": [0.0, 0.1]},
    },
    "train": {"batch": 4},
}


@dataclass
class Searched:
    """A search by PBT in a folder of its own, as the rules run it: generation by generation, member by member."""

    root: Path
    specification: dict[str, Any]
    generations: list[Path] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)
    winner: dict[str, str] = field(default_factory=dict)

    def members(self) -> Iterator[Job]:
        """The members' trainings, each to be run before the next one is asked for."""
        tune, before = Tune.model_validate(TUNE), list[Job]()
        for generation in expand_generations(tune, "pbt"):
            file = self.root / f"generation{generation.number}.json"
            previous = self.generations[-1] if before else None
            summaries = [job.output / "summary.json" for job in before]
            select(describe_search(tune, "pbt", generation), previous, summaries, file)
            self.generations.append(file)
            states, before = [str(job.output / "state") for job in before], []
            for slot in range(1, generation.slots + 1):
                own = {"kind": "member", "until": generation.until, "search": {"slot": slot}}
                specification, ended = resolve(self.specification | own, file, states)
                assert ended is None
                before.append(Job(self.root / f"g{generation.number}-s{slot}", specification))
                self.jobs.append(before[-1])
                yield before[-1]
        self.winner = self._win([job.output / "summary.json" for job in before])

    def _win(self, summaries: list[Path]) -> dict[str, str]:
        """The winner's files by their hashes, without what tells of times and machines."""
        output = self.root / "winner"
        run = self.specification | {"search": {"name": "rate", "method": "pbt"}}
        write_winner(run, self.generations, summaries, output)
        Specification.parse(read_json(output / "spec.json"))
        names = [*output.glob("models/*/*"), output / "validation.parquet", output / "spec.json"]
        return {
            str(file.relative_to(output)): sha256_file(file)
            for file in sorted(names)
            if file.name not in ("README.md", "spec.json")
        } | {"lineage": str(read_json(output / "spec.json")["search"]["lineage"])}


@pytest.fixture
def whole(specification: Callable[..., dict[str, Any]], tmp_path: Path, forked_ranks: None) -> Searched:
    """A search whose members nobody kills, and in which one copies another."""
    settings = specification(steps=60, checkpoint_every=5, validate_every=5, keep_steps=[])
    search = Searched(tmp_path / "undisturbed", settings)
    for job in search.members():
        job.run()
    assert any("replaced" in slot for slot in read_json(search.generations[-1])["slots"])
    return search


def assert_same(search: Searched, other: Searched) -> None:
    """Two searches ended alike, to the last bit."""
    assert [job.curve() for job in search.jobs] == [job.curve() for job in other.jobs]
    assert [read_json(file) for file in search.generations] == [read_json(file) for file in other.generations]
    assert search.winner == other.winner
    assert {"models/best/model.safetensors", "models/last/model.safetensors"} <= {*search.winner}


@pytest.mark.slow
def test_members_that_are_killed_end_in_the_same_winner(
    whole: Searched, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    killed = Searched(tmp_path / "killed", whole.specification)
    kills: list[Kill] = []
    for job, moments in zip(killed.members(), KILLS, strict=True):
        for victim, moment in moments:
            kills += kill_at(job, victim, moment, AFTER.get(moment, 1))
        job.run()
    assert_same(killed, whole)
    assert len(kills) >= 8
    record_property("faults injected", len(kills))
    record_property("kills", len(kills))
    record_property("runs recovered", len(KILLS))


@pytest.mark.long
def test_fifty_kills_at_any_moment_change_no_bit(
    whole: Searched, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    chance, kills, number = random.Random(2026), 0, 0
    while kills < MANY:
        killed = Searched(tmp_path / f"killed-{number}", whole.specification)
        number += 1
        for job in killed.members():
            has_ended = False
            while not has_ended and kills < MANY:
                has_ended = kill_by_chance(job, chance, ("launcher", "rank"), ROWS, SECONDS) is None
                kills += not has_ended
            if not has_ended:
                job.run()
        assert_same(killed, whole)
    record_property("faults injected", kills)
    record_property("kills", kills)
    record_property("runs recovered", number * len(KILLS))
