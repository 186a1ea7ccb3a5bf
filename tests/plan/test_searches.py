"""From a study's searches to their members and winners."""

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from trainyard.config.train import Train
from trainyard.config.tune import FIXED, MUTABLE
from trainyard.core.errors import InputError
from trainyard.plan.configuration import Plan
from trainyard.plan.jobs import Dag
from trainyard.train.spec import Specification

from .conftest import SEARCH

TRAIN = {"batch": 8, "sequence_length": 64, "decay": "constant"}


def study(**more: Any) -> dict[str, Any]:
    return {"title": "t", "question": "q", "tune": [SEARCH | more]}


@pytest.fixture
def jobs(plan: Callable[..., Plan]) -> Callable[..., Dag]:
    return lambda **more: Dag(plan(study(**more)), Path("envs"), conda=False)


def has_rule(dag: Dag, kept: bool, study: str, run: str) -> bool:
    """Whether the rule of members whose state is kept, or of the others, makes a file of a run."""
    pattern = f"results/(?P<study>{dag.searches.studies_of(kept)})/(?P<run>[^/@]+)/spec.json"
    return re.fullmatch(pattern, f"results/{study}/{run}/spec.json") is not None


def job(**wildcards: str) -> SimpleNamespace:
    return SimpleNamespace(study="s", **wildcards)


def test_each_member_of_each_generation_is_a_job_and_the_winner_a_run(plan: Callable[..., Plan]) -> None:
    made = plan(study()).studies["s"]
    names = [name for name in made.members if "pbt" in name]
    assert names == [f"member_rate-pbt_g{number}_s{slot}" for number in (1, 2, 3) for slot in (1, 2, 3, 4)]
    assert len(made.members) == 12 + 4 + 2 + 1
    assert [run.name for run in made.trainings] == [
        f"winner_tinyworld_gpt2-tiny_single-x1_fp32_rate-{method}_seed1" for method in ("pbt", "halving")
    ]


def test_the_specification_of_a_member_says_when_it_ends(plan: Callable[..., Plan]) -> None:
    made = plan(study(train=SEARCH["train"] | {"decay": "cosine"})).studies["s"]
    parsed = Specification.parse(made.members["member_rate-halving_g2_s1"].specification)
    assert (parsed.kind, parsed.until, parsed.train.steps) == ("member", 30, 70)
    assert (parsed.train.validate_every, parsed.train.checkpoint_every) == (10, 10)
    (winner,) = (run for run in made.trainings if "pbt" in run.name)
    assert Specification.parse(winner.specification).train.steps == 30


@pytest.mark.parametrize(("decay", "same"), [("constant", True), ("cosine", False)])
def test_another_generation_changes_no_specification_unless_the_rate_depends_on_the_length(
    decay: str, same: bool, plan: Callable[..., Plan]
) -> None:
    train = SEARCH["train"] | {"decay": decay}
    three, four = [plan(study(generations=number, train=train)).studies["s"].members for number in (3, 4)]
    assert {**four, **three} == four if same else {**four, **three} != four
    assert len(four) > len(three)


def test_members_read_every_state_of_the_generation_before(jobs: Callable[..., Dag]) -> None:
    dag = jobs()
    last = job(run="member_rate-halving_g3_s1")
    assert dag.searches.parent_states(last) == [f"results/s/member_rate-halving_g2_s{slot}/state" for slot in (1, 2)]
    assert dag.searches.member_generation(last) == "results/s/tune/rate-halving/generation3.json"
    assert dag.searches.parent_states(job(run="member_rate-pbt_g1_s1")) == []
    first, second = job(search="rate-pbt", generation="1"), job(search="rate-pbt", generation="2")
    assert (dag.searches.previous_generation(first), dag.searches.previous_summaries(first)) == ([], [])
    assert dag.searches.previous_generation(second) == "results/s/tune/rate-pbt/generation1.json"
    assert dag.searches.previous_summaries(second)[3] == "results/s/member_rate-pbt_g1_s4/summary.json"


@pytest.mark.parametrize(("decay", "kept"), [("constant", ["g3"]), ("linear", [])])
def test_the_last_states_are_kept_where_a_generation_can_be_added(
    decay: str, kept: list[str], jobs: Callable[..., Dag]
) -> None:
    dag = jobs(train=SEARCH["train"] | {"decay": decay})
    for member in dag.plan.studies["s"].members.values():
        is_kept = any(f"_{each}_" in member.name for each in kept)
        assert has_rule(dag, True, "s", member.name) == is_kept
        assert has_rule(dag, False, "s", member.name) != is_kept


def test_searches_of_one_name_in_two_studies_keep_each_their_own_states(
    folder: Path, plan: Callable[..., Plan]
) -> None:
    other = study(train=SEARCH["train"] | {"decay": "linear"})
    (folder / "studies" / "other.yaml").write_text(yaml.safe_dump(other))
    dag = Dag(plan(study(), studies="s,other"), Path("envs"), conda=False)
    last = "member_rate-pbt_g3_s1"
    assert [has_rule(dag, kept, "s", last) for kept in (True, False)] == [True, False]
    assert [has_rule(dag, kept, "other", last) for kept in (True, False)] == [False, True]


def test_a_generation_asks_for_the_time_of_its_own_steps(jobs: Callable[..., Dag]) -> None:
    dag = jobs(steps=5_000_000, train=SEARCH["train"] | {"warmup_steps": 0})
    one, two = [dag.minutes(job(run=f"member_rate-halving_g{number}_s1")) - 30 for number in (1, 2)]
    assert two == pytest.approx(2 * one, rel=0.01)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"over": {"learning_rat": {"log": [1, 2]}}},
            r"over\.learning_rat: no such setting.*did you mean 'learning_ra",
        ),
        ({"over": {"batch": {"choice": [8, 16]}}}, r"over\.batch: can't be searched: every member takes the same"),
        (
            {"over": {"decay": {"choice": ["linear"]}}},
            r"over\.decay: can't change in the middle of a training, and pbt",
        ),
        ({"over": {"dropout": {"linear": [0, 2]}}}, r"over\.dropout\.dropout: "),
        ({"train": SEARCH["train"] | {"learning_rate": 1e-3}}, r"train\.learning_rate: is searched; remove it here"),
        ({"train": SEARCH["train"] | {"steps": 30}}, r"train\.steps: a search has its own, steps times generations"),
        ({"train": SEARCH["train"] | {"patience": 3}}, r"train\.patience: a search has its own"),
        ({"train": SEARCH["train"] | {"warmup_steps": 31}}, r"warmup_steps: 31 is more than the 30 steps"),
        (
            {
                "method": ["grid"],
                "over": {"warmup_steps": {"linear": [0, 9]}},
                "train": TRAIN | {"learning_rate": 1e-3},
            },
            r"over\.warmup_steps: takes whole numbers alone, and a range has others; list them as choice",
        ),
        (
            {"method": ["grid"], "over": {"warmup_steps": {"choice": [0, 99]}}, "train": TRAIN | {"learning_rate": 1}},
            r"warmup_steps: 99 is more than the 30 steps",
        ),
        ({"dataset": "tinyworld-endings"}, r"holds multiple-choice items"),
        ({"method": ["bayes"]}, r"method.*pbt"),
        ({"members": 1}, r"members"),
        ({"model": "gpt3"}, r"no model named 'gpt3'"),
    ],
)
def test_what_can_not_be_searched_is_refused_with_the_reason(
    changed: dict[str, Any], said: str, plan: Callable[..., Plan]
) -> None:
    with pytest.raises(InputError, match=said):
        plan(study(**changed))


def test_methods_that_never_copy_search_what_can_not_change_in_between(plan: Callable[..., Plan]) -> None:
    over = {"decay": {"choice": ["linear", "constant"]}, "warmup_steps": {"choice": [0, 5]}}
    train = {"batch": 8, "sequence_length": 64, "learning_rate": 1e-3}
    made = plan(study(method=["grid", "random", "halving"], over=over, train=train)).studies["s"]
    assert not any(search.can_grow for search in made.searches.values())


def test_the_first_generation_has_room_for_every_warm_up_that_is_searched(plan: Callable[..., Plan]) -> None:
    over = {"warmup_steps": {"choice": [0, 25]}}
    made = plan(study(method=["grid"], over=over, train=TRAIN | {"learning_rate": 1e-3})).studies["s"]
    steps = [made.members[f"member_rate-grid_g{number}_s1"].specification["train"]["steps"] for number in (1, 2, 3)]
    assert steps == [25, 25, 30]


def test_two_searches_of_one_name_are_refused(plan: Callable[..., Plan]) -> None:
    with pytest.raises(InputError, match="there are two searches rate-pbt; give one another name"):
        plan({"title": "t", "question": "q", "tune": [SEARCH, SEARCH]})


def test_what_can_be_searched_is_a_setting_of_training() -> None:
    assert {*MUTABLE, *FIXED} <= {*Train.model_fields}
    assert not {*MUTABLE} & {*FIXED}


@pytest.mark.parametrize(
    ("parallel", "name", "values", "said"),
    [
        ("tensor", "lora", [None, {"rank": 4}], "does not train adapters"),
        ("single", "tf32", [False, True], "tf32 needs an NVIDIA GPU"),
        ("single", "lora", [None, {"rank": 4}], None),
    ],
)
def test_members_are_unsupported_if_any_value_of_their_search_is(
    parallel: str, name: str, values: list[Any], said: str | None, jobs: Callable[..., Dag]
) -> None:
    train = TRAIN | {"learning_rate": 1e-3}
    processes = 2 if parallel == "tensor" else 1
    asked = {"method": ["grid"], "parallel": parallel, "processes": processes, "over": {name: {"choice": values}}}
    reason = jobs(**asked, train=train).unsupported(job(run="member_rate-grid_g1_s1"))
    assert reason is None if said is None else reason is not None and said in reason
