"""Every entry of the report's figures and tables names what is there."""

import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from trainyard.plan.configuration import Plan
from trainyard.plan.jobs import Dag
from trainyard.plan.report import FIGURES, TABLES, Figure, Product
from trainyard.report.inputs import FILES

PRODUCTS = [*FIGURES, *TABLES]
CAPTIONS = Path(__file__).resolve().parents[2] / "report"
every_product = pytest.mark.parametrize("product", PRODUCTS, ids=[product.name for product in PRODUCTS])


@every_product
def test_its_caption_is_there(product: Product) -> None:
    assert (CAPTIONS / f"{product.module}.rst").is_file()


@every_product
def test_its_function_takes_what_its_rule_gives(product: Product) -> None:
    module = importlib.import_module(f"trainyard.report.pages.{product.module}")
    given = [*({"runs", *FILES} & set(product.inputs)), *product.params]
    if isinstance(product, Figure):
        inspect.signature(module.draw).bind("study", **dict.fromkeys([*given, *product.options, "output"]))
    else:
        inspect.signature(module.tabulate).bind("study", **dict.fromkeys([*given, *product.files]))


def test_the_plan_knows_every_input_and_parameter(plan: Callable[..., Plan]) -> None:
    jobs = Dag(plan(), Path("envs"), conda=False)
    for product in PRODUCTS:
        assert jobs.reads(**product.inputs)(SimpleNamespace(study="s")).keys() == product.inputs.keys(), product.name
        assert jobs.product_params(product).keys() - {"counting"} == set(product.params), product.name


def test_no_two_have_a_rule_or_a_file_in_common() -> None:
    names = [product.name for product in PRODUCTS]
    files = [file.name for product in PRODUCTS for file in product.files.values()]
    assert len(set(names)) == len(names)
    assert len(set(files)) == len(files)


def test_a_study_has_what_it_asks_for(plan: Callable[..., Plan]) -> None:
    study = plan().studies["s"]
    assert [figure.name for figure in FIGURES if figure.when(study)] == [
        "loss_by_step", "loss_by_tokens", "loss_by_time", "quality_by_cost", "memory_figure",
    ]  # fmt: skip
    assert [table.stem for table in TABLES if table.when(study)] == [
        "comparison", "energy", "data", "models", "environment", "sources",
    ]  # fmt: skip
