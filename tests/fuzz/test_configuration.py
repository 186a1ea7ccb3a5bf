"""Catalogues, studies and command lines with mistakes in their structure."""

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import odd
import pytest
from hypothesis import strategies as st
from repository import MICRO

from trainyard.config.catalogue import Dataset, Model, ParallelSetting, Tokenizer
from trainyard.config.settings import Config
from trainyard.config.yaml_entries import parse, read_yaml
from trainyard.core.errors import InputError
from trainyard.plan.capabilities import Machine
from trainyard.plan.configuration import Plan, make_plan, read_catalogues
from trainyard.plan.jobs import Dag
from trainyard.plan.runs import Catalogues
from trainyard.plan.study import StudyPlan, plan_study

CONFIG = Path(__file__).resolve().parents[2] / "config"
KINDS = {"datasets": Dataset, "models": Model, "parallel": ParallelSetting, "tokenizers": Tokenizer}
MACHINE = Machine("cpu")
PLACE = r"(, line \d+)?: \S"


def ask(plan: StudyPlan, catalogues: Catalogues) -> None:
    """Ask what the rules ask, so that nothing is left to break in a job."""
    jobs = Dag(
        Plan(parse(Config, {"studies": ["s"]}, "config.yaml"), catalogues, MACHINE, {"s": plan}),
        CONFIG.parent / "envs",
        conda=False,
    )
    for run in plan.runs.values():
        wildcards = SimpleNamespace(study="s", run=run.name)
        assert jobs.threads(wildcards) * jobs.memory(wildcards) * jobs.minutes(wildcards)
        json.dumps([jobs.specification(wildcards), jobs.data_folders(wildcards)], allow_nan=False).encode()
        jobs.unsupported(wildcards)
    for cell in plan.cells.values():
        json.dumps(cell.specification, allow_nan=False).encode()
    for model, evaluation in plan.by_evaluation.values():
        wildcards = SimpleNamespace(
            study="s",
            run=model.run,
            checkpoint=model.checkpoint,
            evaluation=evaluation.name,
            dataset=evaluation.dataset,
        )
        json.dumps([jobs.evaluations.specification(wildcards), jobs.evaluations.rows(wildcards)], allow_nan=False)
    study = SimpleNamespace(study="s")
    json.dumps([jobs.results("s"), jobs.report("s"), jobs.study(study), jobs.study_models(study)]).encode()


@pytest.mark.parametrize("catalogue", KINDS)
def test_an_entry_is_taken_or_refused_by_file_and_entry(fuzz: Any, refused: Any, catalogue: str) -> None:
    entries = read_yaml(CONFIG / f"{catalogue}.yaml")

    def check(value: Any) -> None:
        refused(lambda: parse(KINDS[catalogue], value, f"{catalogue}.yaml: mine"), rf"{catalogue}\.yaml: mine[.:] ?\S")

    fuzz(st.sampled_from(list(entries.values())).flatmap(odd.changed), check, 1000)


def test_a_study_is_planned_or_refused_by_its_file(fuzz: Any, refused: Any, folder: Path) -> None:
    catalogues, path = read_catalogues(CONFIG), folder / "studies" / "s.yaml"
    path.parent.mkdir()

    def check(study: Any) -> None:
        path.write_text(odd.as_yaml(study))
        plan = refused(lambda: plan_study("s", folder, catalogues, MACHINE), f"{path}{PLACE}")
        if plan:
            assert all(re.fullmatch(r"[\w.-]+", name) for name in (*plan.runs, *plan.cells))
            ask(plan, catalogues)

    fuzz(odd.changed(MICRO), check, 800)


def test_a_command_line_is_taken_or_refused_by_key(fuzz: Any, refused: Any) -> None:
    good = {"studies": "demo", "mirror": None, "device": "cpu", "interpreters": {"colossalai": "/x/bin/python"}}
    good["prices"] = {"currency": "EUR", "cpu": 0.1}
    place = CONFIG / "config.yaml"

    def check(value: Any) -> None:
        refused(lambda: parse(Config, value, str(place)), rf"{place}: \S")
        if isinstance(value, dict):
            refused(lambda: make_plan(value, CONFIG), rf"{CONFIG}/\S+: \S")

    fuzz(odd.changed(good, most=2), check, 300)


def test_catalogues_together_are_taken_or_refused_by_file(fuzz: Any, refused: Any, folder: Path) -> None:
    whole = {name: read_yaml(CONFIG / f"{name}.yaml") for name in KINDS}

    def check(changed: Any) -> None:
        for name in KINDS:
            value = changed.get(name) if isinstance(changed, dict) else changed
            (folder / f"{name}.yaml").write_text(odd.as_yaml(value))
        refused(lambda: read_catalogues(folder), rf"{folder}/\w+\.yaml{PLACE}")

    fuzz(odd.changed(whole), check, 100)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"studies": "../secret"}, r"studies: should be letters, digits, dots, .* \(given: '../secret'\)"),
        ({"studies": "demo", "mirror": "x" * 300}, "mirror: x+: File name too long; "),
        ({"studies": "x" * 300}, "studies: String should have at most 80 characters"),
        ({"studies": "demo", "interpreters": {"colossalai": "~nobody-of-this-name/python"}}, "interpreters.colossalai"),
        ({"studies": "demo", "interpreters": {"colossalai": "x" * 300}}, "interpreters.colossalai: "),
        ({"studies": "demo", "interpreters": {"colossalai": "a\0b"}}, "interpreters.colossalai: "),
        ({"studies": "demo", "prices": {"currency": "EUR", "cpu": float("inf")}}, "prices.cpu: .* finite number"),
    ],
)
def test_a_name_or_path_that_can_not_be_is_refused_by_key(settings: Any, said: str) -> None:
    with pytest.raises(InputError, match=rf"config\.yaml: {said}"):
        make_plan({"device": "cpu", **settings}, CONFIG)


@pytest.mark.parametrize("source", [None, 3, "x", []])
def test_a_source_that_is_no_mapping_is_refused_by_key(source: Any) -> None:
    entry = {"title": "t", "kind": "text", "source": source, "splits": {"train": "train"}, "licence": "MIT"}
    with pytest.raises(InputError, match=r"^d\.yaml: mine\.source"):
        parse(Dataset, entry, "d.yaml: mine")


def test_an_entry_whose_name_is_no_name_of_a_file_is_refused(folder: Path) -> None:
    for file in CONFIG.glob("*.yaml"):
        shutil.copy(file, folder)
    for name in ("../up", "a b", "1: x", "''"):
        (folder / "tokenizers.yaml").write_text(f"{name}: {{title: t, kind: bytes, vocabulary: 260}}\n")
        with pytest.raises(InputError, match=r"tokenizers\.yaml[:,] "):
            read_catalogues(folder)
