"""Which cell is fastest: told where launches tell it, else a tie; seldom wrong of cells that are equal."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from trainyard.core.statistics import Estimate
from trainyard.report.pages.speed import describe_speeds
from trainyard.report.results.measurements import read_cells
from trainyard.report.statistics.speeds import estimate_speeds, find_least_difference, rank_cells

from .sample_measurements import launches_of

CASES = 400
MOST_FALSE = 34  # 20 of 400 are expected at 5 %: 33 and fewer are 99.8 % of binomial draws


def launch_cells(
    generator: np.random.Generator, cells: int, rounds: int = 3, drift: float = 0.0, noise: float = 0.02
) -> list[list[float]]:
    """Cells of one speed: each launch has its own noise, each round its own, and steps don't count."""
    own = generator.normal(0, noise, (cells, rounds))
    return np.exp(np.log(30_000) + own + generator.normal(0, drift, rounds)).tolist()


@pytest.mark.parametrize("drift", [0.0, 0.2])
@pytest.mark.parametrize("cells", [2, 3, 6, 12])
def test_of_equal_cells_few_are_called_faster_whatever_slows_a_round(cells: int, drift: float) -> None:
    generator = np.random.default_rng(cells)
    false = 0
    for _ in range(CASES):
        launches = launch_cells(generator, cells, drift=drift)
        means = np.log(launches).mean(axis=1)
        false += np.ptp(means) > (find_least_difference(launches) or 0.0)
    assert false <= MOST_FALSE


def test_the_fastest_of_steps_is_called_faster_too_often() -> None:
    """Twenty steps of one launch share what befalls it: taken for twenty observations they mistake it for speed."""
    generator, false = np.random.default_rng(0), 0
    for _ in range(CASES):
        steps = generator.normal(0, 0.02, (2, 1)) + generator.normal(0, 0.005, (2, 20))
        first, second = steps
        error = np.sqrt(first.var(ddof=1) / 20 + second.var(ddof=1) / 20)
        false += abs(first.mean() - second.mean()) > 2 * error
    assert false > CASES / 2


@pytest.mark.parametrize("cells", [1, 3, 6])
def test_the_interval_of_a_speed_holds_it(cells: int) -> None:
    generator = np.random.default_rng(cells)
    held = 0
    for _ in range(CASES):
        found = estimate_speeds(launch_cells(generator, cells))[0]
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 30_000 <= found.high
    assert held >= CASES - MOST_FALSE


def test_the_interval_of_the_fastest_is_corrected_for_the_choice() -> None:
    generator = np.random.default_rng(5)
    held = {1: 0, 6: 0}
    for _ in range(CASES):
        launches = launch_cells(generator, 6)
        fastest = int(np.argmax(np.log(launches).mean(axis=1)))
        for among in held:
            found = estimate_speeds(launches, among)[fastest]
            assert found.low is not None
            assert found.high is not None
            held[among] += found.low <= 30_000 <= found.high
    assert held[6] >= CASES - MOST_FALSE > held[1]


def test_a_clear_difference_is_found_though_rounds_differ_more() -> None:
    generator, found = np.random.default_rng(1), 0
    for _ in range(CASES):
        launches = launch_cells(generator, 3, drift=0.2)
        launches[0] = [1.2 * speed for speed in launches[0]]
        means = np.log(launches).mean(axis=1)
        found += means[0] - max(means[1:]) > (find_least_difference(launches) or 1.0)
    assert found > 0.9 * CASES


def test_launches_that_are_all_alike_tell_no_error() -> None:
    assert find_least_difference([[1.0, 1.0], [2.0, 2.0]]) is None
    assert estimate_speeds([[2.0, 2.0]]) == [Estimate(pytest.approx(2.0))]  # pyright: ignore[reportArgumentType]


SPEEDS = {"ddp": [1000.0, 1010.0, 1005.0], "fsdp": [990.0, 1015.0, 1003.0], "zero2": [700.0, 705.0, 710.0]}


@pytest.fixture
def add(empty: Any) -> Callable[..., None]:
    """Add cells by setting and launches to the study of the results."""

    def cells(speeds: dict[str, list[float]], batch: int = 8, **more: Any) -> None:
        for parallel, launches in speeds.items():
            mean = float(np.exp(np.log(launches).mean()))
            empty.add_cell(parallel, batch, mean, **({"launches": launches_of(launches)} | more))

    return cells


def said(empty: Any) -> str:
    return " ".join(describe_speeds(read_cells(empty.cells)))


def test_what_launches_can_not_tell_apart_is_called_a_tie(empty: Any, add: Callable[..., None]) -> None:
    add(SPEEDS)
    text = said(empty)
    assert "ddp and fsdp are tied as the fastest, with 1,005 tokens/s [" in text
    assert "over 3 launches each, in turn" in text
    assert "; slower: zero2." in text


def test_the_fastest_is_named_with_its_lead_and_what_would_be_noise(empty: Any, add: Callable[..., None]) -> None:
    add({"ddp": SPEEDS["ddp"], "zero2": SPEEDS["zero2"]})
    assert "ddp is fastest, with 1,005 tokens/s [" in said(empty)
    assert "42.6 % faster than zero2, the second" in said(empty)
    assert "these can't tell apart less than" in said(empty)


def test_batches_models_and_devices_are_not_mixed(empty: Any, add: Callable[..., None]) -> None:
    add(SPEEDS)
    add({"ddp": [4000.0, 4010.0, 4020.0]}, batch=64)
    add({"ddp": [9000.0, 9010.0, 9020.0]}, model="gpt2-250k")
    add({"zero3": [9000.0, 9010.0, 9020.0]}, device_name="another")
    groups = [{cell["parallel"] for cell in ranking.cells} for ranking in rank_cells(read_cells(empty.cells))]
    assert groups == [{"ddp", "fsdp", "zero2"}, {"ddp"}, {"ddp"}, {"zero3"}]


@pytest.mark.parametrize(
    ("launches", "reason"),
    [
        (launches_of([900.0]), "not equally many launches"),
        (launches_of([900.0, 905.0, 910.0], minute=30), None),
        (
            [{**each, "started": f"2026-02-{each['started'][8:]}"} for each in launches_of([900.0, 905.0, 910.0])],
            "turn",
        ),
    ],
)
def test_nothing_is_called_fastest_where_cells_did_not_take_turns(
    empty: Any, add: Callable[..., None], launches: list[dict[str, Any]], reason: str | None
) -> None:
    add({"ddp": SPEEDS["ddp"]})
    empty.add_cell("fsdp", 8, 905.0, launches=launches)
    assert ("can't be told" in said(empty)) is (reason is not None)
    assert (reason or "fastest") in said(empty)


def test_one_launch_each_says_no_more_than_its_number(empty: Any, add: Callable[..., None]) -> None:
    add({"ddp": [1000.0], "fsdp": [900.0]})
    assert "which setting is fastest can't be told (one launch each); highest is ddp's 1,000 tokens/s." in said(empty)
