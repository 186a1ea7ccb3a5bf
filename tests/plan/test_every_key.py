"""Every key of every file: what can't be is refused before anything runs, by file and key, and nothing else is."""

import copy
import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import every_key
import pytest
import yaml
from every_key import NO_EDGE, WHOLE, Key

from trainyard.config import yaml_entries
from trainyard.config.yaml_entries import quote_key
from trainyard.core.errors import InputError
from trainyard.plan.configuration import Plan, make_plan
from trainyard.plan.jobs import Dag

FILES = {"study": "studies/s.yaml"}
KEYS = list(every_key.keys())
Make = Callable[[Key, Any], Plan]


def written(content: Any) -> str:
    return yaml.dump(content, sort_keys=False, Dumper=yaml.CSafeDumper)


@pytest.fixture(scope="module")
def _the_same_text_is_parsed_once() -> Iterator[None]:
    """What a file holds is a function of its text, and each value that is tried changes one file alone."""
    parse = functools.cache(yaml_entries._construct)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yaml_entries, "_construct", lambda path, text: copy.deepcopy(parse(path, text)))
        yield


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory, _the_same_text_is_parsed_once: None) -> Make:
    """Plan the whole configuration with one value in place of another."""
    folder = tmp_path_factory.mktemp("every") / "config"
    (folder / "studies").mkdir(parents=True)
    whole = {file: written(content) for file, content in WHOLE.items()}

    def write(file: str, text: str) -> None:
        if file != "config":
            (folder / FILES.get(file, f"{file}.yaml")).write_text(text)

    for file, text in whole.items():
        write(file, text)

    def plan(key: Key, value: Any) -> Plan:
        changed = copy.deepcopy(WHOLE[key.file])
        place = changed
        for part in key.path[:-1]:
            place = place[part]
        if key.path:
            place[key.path[-1]] = value
        else:
            changed = value
        write(key.file, written(changed))
        try:
            return make_plan(changed if key.file == "config" else WHOLE["config"], folder)
        finally:
            write(key.file, whole[key.file])

    return plan


def ask(plan: Plan) -> None:
    """Ask what rules ask of every job, so that nothing is left to fail after the plan."""
    jobs = Dag(plan, Path("envs"), conda=False)
    for study in plan.studies.values():
        for run in study.runs.values():
            at = SimpleNamespace(study=study.name, run=run.name)
            json.dumps([jobs.specification(at), jobs.data_folders(at), jobs.unsupported(at)], allow_nan=False)
            assert jobs.threads(at) * jobs.memory(at) * jobs.minutes(at) > 0
        for cell in study.cells.values():
            json.dumps(cell.specification, allow_nan=False)
        for model, each in study.by_evaluation.values():
            at = SimpleNamespace(
                study=study.name,
                run=model.run,
                checkpoint=model.checkpoint,
                evaluation=each.name,
                dataset=each.dataset,
            )
            json.dumps(
                [jobs.evaluations.specification(at), jobs.evaluations.minutes(at), jobs.evaluations.memory(at)],
                allow_nan=False,
            )
        at = SimpleNamespace(study=study.name)
        json.dumps(
            [jobs.results(study.name), jobs.report(study.name), jobs.study(at), jobs.prices, jobs.energy],
            allow_nan=False,
        )
    jobs.warnings()


def tried(make: Callable[[], Plan]) -> tuple[Plan | None, str]:
    """A plan, or what is said instead."""
    try:
        return make(), ""
    except InputError as error:
        return None, str(error)


def named(key: Key) -> str:
    """The file, and the last word of the key, that a message names."""
    return quote_key(next((part for part in reversed(key.path) if isinstance(part, str)), key.file))


def test_the_whole_configuration_is_planned_as_it_is(make: Make) -> None:
    for file in WHOLE:
        ask(make(next(key for key in KEYS if key.file == file and not key.path), WHOLE[file]))


def test_it_holds_every_key_of_the_typed_models() -> None:
    missing = every_key.known_keys() - {key.model for key in KEYS}
    assert not missing, f"give them a value in {every_key.__file__}"


def test_every_number_has_a_lower_and_an_upper_bound() -> None:
    numbers = [
        key for key in KEYS if key.node.get("type") in ("integer", "number") and not {"enum", "const"} & key.node.keys()
    ]
    without = {key.model for key in numbers if not every_key.is_bounded(key)} - NO_EDGE
    assert len(numbers) > 80
    assert not without


@pytest.mark.slow
@pytest.mark.parametrize("file", WHOLE)
def test_a_value_beyond_an_edge_is_refused_by_file_and_key(make: Make, file: str) -> None:
    refused = 0
    for key in KEYS:
        # Snakemake itself sees that its configuration is a mapping
        for value in every_key.beyond(key) if key.file == file and (key.path or file != "config") else ():
            plan, said = tried(lambda key=key, value=value: make(key, value))
            assert plan is None, (key.name, value)
            assert f"{FILES.get(file, f'{file}.yaml')}: " in said or ", line " in said, (key.name, value, said)
            assert named(key) in said or not key.path, (key.name, value, said)
            refused += 1
    assert refused > 20


@pytest.mark.slow
@pytest.mark.parametrize("file", WHOLE)
def test_a_value_at_an_edge_is_planned_or_refused_by_file(make: Make, file: str) -> None:
    planned = 0
    for key in KEYS:
        for value in every_key.at_edges(key) if key.file == file else ():
            plan, said = tried(lambda key=key, value=value: make(key, value))
            if plan is None:
                assert ".yaml: " in said, (key.name, value, said)  # with another key, which the message may name
            else:
                planned += 1
                ask(plan)
    assert planned >= {"datasets": 2, "tokenizers": 2}.get(file, 4)
