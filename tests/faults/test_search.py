"""A search whose members are killed again and again finds the same winner by the same lineage, to the last bit."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from kills import Kill, kill_at
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
                yield before[-1]
        self.jobs = before

    def win(self) -> dict[str, str]:
        """The winner's files by their hashes, without what tells of times and machines."""
        output = self.root / "winner"
        run = self.specification | {"search": {"name": "rate", "method": "pbt"}}
        summaries = [job.output / "summary.json" for job in self.jobs]
        write_winner(run, self.generations, summaries, output)
        Specification.parse(read_json(output / "spec.json"))
        names = [*output.glob("models/*/*"), output / "validation.parquet", output / "spec.json"]
        return {
            str(file.relative_to(output)): sha256_file(file)
            for file in sorted(names)
            if file.name not in ("README.md", "spec.json")
        } | {"lineage": str(read_json(output / "spec.json")["search"]["lineage"])}


@pytest.mark.slow
def test_members_that_are_killed_end_in_the_same_winner(
    specification: Callable[..., dict[str, Any]], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    settings = specification(steps=60, checkpoint_every=5, validate_every=5, keep_steps=[])
    searches = [Searched(tmp_path / name, settings) for name in ("undisturbed", "killed")]
    kills: list[Kill] = []
    curves: list[list[list[tuple]]] = [[], []]
    for job in searches[0].members():
        job.run()
        curves[0].append(job.curve())
    for job, moments in zip(searches[1].members(), KILLS, strict=True):
        for victim, moment in moments:
            kills += kill_at(job, victim, moment, AFTER.get(moment, 1))
        job.run()
        curves[1].append(job.curve())
    assert curves[0] == curves[1]
    assert [read_json(file) for file in searches[0].generations] == [
        read_json(file) for file in searches[1].generations
    ]
    assert any("replaced" in slot for slot in read_json(searches[0].generations[-1])["slots"])
    winners = [search.win() for search in searches]
    assert winners[0] == winners[1]
    assert {"models/best/model.safetensors", "models/last/model.safetensors"} <= {*winners[0]}
    assert len(kills) >= 8
    record_property("faults injected", len(kills))
    record_property("kills", len(kills))
    record_property("runs recovered", len(KILLS))
