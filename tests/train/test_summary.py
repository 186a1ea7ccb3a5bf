"""summary.json from the rows of a run."""

import pytest

from trainyard.train.summary import summarise

SPECIFICATION = {"study": "s", "run": "r", "kind": "run", "processes": 2}
FINISHED = {"outcome": "finished", "reason": None}


def row(step, seconds=1.0, **more):
    return {
        "step": step,
        "tokens": 100 * step,
        "loss": 10.0 - step,
        "step_seconds": seconds,
        "tokens_per_second": 100 / seconds,
        "elapsed_seconds": float(step),
        "device_memory": None,
        "host_memory": 1000 + step,
        **more,
    }


def test_speed_leaves_out_the_first_steps():
    rows = [row(1, seconds=60.0), row(2, seconds=30.0), row(3, seconds=10.0), *(row(step, 0.5) for step in range(4, 9))]
    found = summarise(SPECIFICATION, {}, rows, FINISHED, [])
    assert found["tokens_per_second"] == 200
    assert found["step_seconds"] == {"median": 0.5, "p10": 0.5, "p90": 0.5}


def test_quantiles_lie_between_the_two_nearest_steps():
    rows = [*(row(step, 9.0) for step in (1, 2, 3)), *(row(step, float(step - 3)) for step in range(4, 8))]
    found = summarise(SPECIFICATION, {}, rows, FINISHED, [])
    assert found["step_seconds"] == pytest.approx({"median": 2.5, "p10": 1.3, "p90": 3.7})


def test_losses_and_the_best_validation():
    rows = [row(step, **({"validation_loss": loss} if loss else {})) for step, loss in enumerate([5, None, 3, 4], 1)]
    found = summarise(SPECIFICATION, {}, rows, FINISHED, ["best", "last"])
    assert found["training_loss"] == 7.5
    assert found["validation_loss"] == 4
    assert found["best"] == {"step": 3, "validation_loss": 3}
    assert (found["steps"], found["tokens"], found["models"]) == (4, 400, ["best", "last"])


def test_what_utilisation_is_computed_from_is_there():
    started = {"device_name": "A processor", "flops_per_token": 5e3, "mfu_formula": "f", "parameters": 7}
    found = summarise(SPECIFICATION, started, [row(1)], FINISHED, [])
    assert {name: found[name] for name in started} == started


def test_peak_memory_is_the_largest_seen_before_or_after_an_interruption():
    rows = [row(1), row(2, host_memory=9000), row(3)]
    assert summarise(SPECIFICATION, {}, rows, FINISHED, [])["peak_host_memory"] == 9000
    ended = {**FINISHED, "peak_host_memory": 9500, "peak_device_memory": None}
    found = summarise(SPECIFICATION, {}, rows, ended, [])
    assert (found["peak_host_memory"], found["peak_device_memory"]) == (9500, None)


def test_a_run_that_never_began_has_no_figures():
    outcome = {"outcome": "unsupported", "reason": "needs a GPU"}
    found = summarise(SPECIFICATION, {}, [], outcome, [])
    assert (found["outcome"], found["reason"]) == ("unsupported", "needs a GPU")
    assert [found[name] for name in ("training_loss", "best", "tokens_per_second", "parameters")] == [None] * 4
