"""Who goes on from whose state."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from trainyard.config.study import Tune
from trainyard.config.train import Train
from trainyard.config.tune import Method
from trainyard.core.files import read_json, write_json
from trainyard.tune.generations import describe_search, expand_generations
from trainyard.tune.member import resolve
from trainyard.tune.select import read_members, select, trace

Loss = float | str  # or the outcome of a member that has none


def make_tune(**more: Any) -> Tune:
    search = {
        "name": "rate",
        "dataset": "tinyworld",
        "model": "gpt2-tiny",
        "members": 10,
        "generations": 3,
        "steps": 5,
        "over": {"learning_rate": {"log": [1e-4, 1e-2]}},
        "train": {"batch": 8},
    }
    return Tune.model_validate(search | more)


class Searched:
    """A search whose members come to the losses that a test gives."""

    def __init__(self, folder: Path, tune: Tune, method: Method) -> None:
        self.folder, self.tune = folder, tune
        self.method: Method = method
        self.generations = expand_generations(tune, method)
        self.files: list[Path] = []
        self.summaries: list[Path] = []

    def settle(self) -> list[dict[str, Any]]:
        """The slots of the next generation."""
        number = len(self.files)
        file = self.folder / f"generation{number + 1}.json"
        search = describe_search(self.tune, self.method, self.generations[number])
        select(search, self.files[-1] if self.files else None, self.summaries, file)
        self.files.append(file)
        return read_json(file)["slots"]

    def end(self, losses: Sequence[Loss]) -> None:
        """Let the members of this generation come to these losses."""
        self.summaries = []
        for slot, loss in enumerate(losses, 1):
            failed = isinstance(loss, str)
            content = {
                "outcome": loss if failed else "finished",
                "reason": f"of slot {slot}" if failed else None,
                "validation_loss": None if failed else loss,
            }
            self.summaries.append(self.folder / f"{len(self.files)}-{slot}.json")
            write_json(self.summaries[-1], content)


@pytest.fixture
def searched(tmp_path: Path) -> Callable[..., Searched]:
    return lambda method, **more: Searched(tmp_path, make_tune(**more), method)


def parents(slots: list[dict[str, Any]]) -> list[int | None]:
    return [slot["parent"] for slot in slots]


def test_in_pbt_the_lowest_fifth_copies_the_top_fifth(searched: Callable[..., Searched]) -> None:
    search = searched("pbt")
    first = search.settle()
    search.end([5.0, 1.0, 9.0, 4.0, 3.0, 2.0, 8.0, 6.0, 7.0, 5.5])
    second = search.settle()
    for slot, before in zip(second, first, strict=True):
        if slot["slot"] in (3, 7):
            assert slot["parent"] in (2, 6)
            parent = first[slot["parent"] - 1]["hyperparameters"]
            assert slot["hyperparameters"] != parent
            assert slot["replaced"]["loss"] == (9.0 if slot["slot"] == 3 else 8.0)
        else:
            assert slot["parent"] == slot["slot"]
            assert slot["hyperparameters"] == before["hyperparameters"]
            assert "replaced" not in slot


@pytest.mark.parametrize("members", [2, 3, 4])
def test_in_a_small_population_one_copies_one(members: int, searched: Callable[..., Searched]) -> None:
    search = searched("pbt", members=members)
    search.settle()
    search.end([float(slot) for slot in range(members)])
    assert parents(search.settle()) == [*range(1, members), 1]


def test_in_pbt_whoever_failed_loses_its_place_to_a_copy(searched: Callable[..., Searched]) -> None:
    search = searched("pbt", members=5)
    search.settle()
    search.end(["diverged", 2.0, "out-of-memory", 1.0, 3.0])
    slots = search.settle()
    assert parents(slots) == [4, 2, 4, 4, 5]
    assert slots[0]["replaced"] == {"loss": None, "outcome": "diverged", "reason": "of slot 1"}
    assert all("outcome" not in slot for slot in slots)


@pytest.mark.parametrize("method", ["pbt", "random", "grid", "halving"])
def test_where_all_failed_nobody_trains_on(method: Method, searched: Callable[..., Searched]) -> None:
    search = searched(method, members=2)
    search.settle()
    search.end(["diverged", "unsupported"])
    slots = search.settle()
    assert parents(slots) == [None] * len(slots)
    assert slots[0]["outcome"] == "diverged"
    assert slots[0]["reason"] == "of slot 1"


@pytest.mark.parametrize("method", ["random", "grid"])
def test_without_copies_everyone_goes_on_and_who_failed_stays_so(
    method: Method, searched: Callable[..., Searched]
) -> None:
    search = searched(method, members=3)
    first = search.settle()
    search.end([3.0, "diverged", 1.0])
    second = search.settle()
    assert parents(second) == [1, None, 3]
    assert [slot["hyperparameters"] for slot in second] == [slot["hyperparameters"] for slot in first]
    search.end([3.0, "diverged", 1.0])
    assert search.settle()[1]["outcome"] == "diverged"


def test_halving_keeps_the_better_half_and_trains_it_twice_as_long(searched: Callable[..., Searched]) -> None:
    search = searched("halving", members=8, steps=6)
    assert [(each.slots, each.steps, each.until) for each in search.generations] == [
        (8, 6, 6),
        (4, 12, 18),
        (2, 24, 42),
    ]
    search.settle()
    search.end([5.0, 1.0, "diverged", 4.0, 3.0, 2.0, 8.0, 6.0])
    assert parents(search.settle()) == [2, 6, 5, 4]
    search.end([1.0, 4.0, 2.0, 3.0])
    assert parents(search.settle()) == [1, 3]


@pytest.mark.parametrize("method", ["pbt", "random", "grid", "halving"])
@pytest.mark.parametrize("members", [2, 3, 4, 6, 8, 9])
def test_every_method_takes_the_same_steps_and_none_more(method: Method, members: int) -> None:
    over = {"learning_rate": {"log": [1e-4, 1e-2]}, "weight_decay": {"linear": [0.0, 1.0]}}
    tune = make_tune(members=members, steps=4, over=over)
    taken, budget = sum(each.slots * each.steps for each in expand_generations(tune, method)), members * 3 * 4
    assert budget / 2 < taken <= budget
    if method in ("pbt", "random") or members in (2, 4, 8):
        assert taken == budget


@pytest.mark.parametrize("method", ["pbt", "random", "grid", "halving"])
def test_another_generation_changes_none_that_is_there(method: Method) -> None:
    three, four = make_tune(), make_tune(generations=4)
    before, after = expand_generations(three, method), expand_generations(four, method)
    assert after[:3] == before
    settled = [[describe_search(tune, method, each) for each in before] for tune in (three, four)]
    assert settled[0] == settled[1]


def test_methods_begin_with_the_same_draws(tmp_path: Path) -> None:
    firsts = []
    methods: list[Method] = ["pbt", "random", "halving"]
    for method in methods:
        (tmp_path / method).mkdir()
        firsts.append(Searched(tmp_path / method, make_tune(), method).settle())
    assert firsts[0] == firsts[1] == firsts[2]


def test_a_member_is_told_its_settings_and_whose_state_it_begins_from(searched: Callable[..., Searched]) -> None:
    search = searched("pbt", members=2)
    search.settle()
    search.end([1.0, 2.0])
    copy = search.settle()[1]
    train = Train.model_validate({"learning_rate": 1.0, "batch": 8, "steps": 9}).model_dump(mode="json")
    template = {"train": train, "data": {"train": "t"}, "search": {"slot": 2}}
    specification, ended = resolve(template, search.files[-1], ["one", "two"])
    assert specification["data"] == {"train": "t", "start": "one"}
    assert specification["train"] == train | copy["hyperparameters"]
    assert ended is None
    first, ended = resolve(template, search.files[0], [])
    assert first["data"] == {"train": "t"}
    assert ended is None


def test_a_slot_that_trains_no_more_is_told_why(searched: Callable[..., Searched]) -> None:
    search = searched("random", members=2)
    search.settle()
    search.end([1.0, "diverged"])
    search.settle()
    template = {"train": {"batch": 8, "steps": 9}, "data": {}, "search": {"slot": 2}}
    assert resolve(template, search.files[-1], ["a", "b"])[1] == {"outcome": "diverged", "reason": "of slot 2"}


def test_the_lineage_of_a_member_leads_back_over_copies(searched: Callable[..., Searched]) -> None:
    search = searched("pbt", members=3)
    search.settle()
    search.end([1.0, 2.0, 3.0])
    search.settle()
    search.end([2.0, 3.0, 1.0])
    third = search.settle()
    search.end([2.0, 3.0, 1.0])
    best = min(read_members(search.files[-1], search.summaries), key=lambda member: member.place)
    lineage = trace(search.files, best)
    assert [part["slot"] for part in lineage] == [1, 3, 3]
    assert [part["until"] for part in lineage] == [5, 10, 15]
    assert lineage[-1]["hyperparameters"] == third[2]["hyperparameters"]
