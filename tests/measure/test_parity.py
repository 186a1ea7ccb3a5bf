import json

import pytest

from trainyard.core.errors import InputError
from trainyard.core.files import write_json
from trainyard.measure.parity import SAME_PRECISION, TOLERANCES, compare, find_tolerance


def setting(tensor=1, pipeline=1, **options):
    return {"name": "zero2", "options": options, "tensor": tensor, "pipeline": pipeline}


def write_run(
    folder,
    losses,
    outcome="finished",
    reason=None,
    precision="fp32",
    tokens=100,
    parallel=None,
    skipped=(),
    norm: float | None = 2.0,
):
    folder.mkdir()
    specification = {
        "study": "demo",
        "run": folder.name,
        "parallel": parallel or setting(),
        "precision": precision,
        "device": "cpu",
        "processes": 2,
        "dataset": "stories",
        "model": {"name": "gpt2-tiny"},
    }
    write_json(folder / "spec.json", specification)
    write_json(folder / "summary.json", {"outcome": outcome, "reason": reason, "steps": len(losses)})
    rows = [
        {"step": step, "tokens": tokens * step, "loss": loss, "gradient_norm": norm}
        for step, loss in enumerate(losses, 1)
    ]
    for step in skipped:
        rows[step - 1]["skipped"] = True
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def compared(probe, reference, folder, same_precision=None):
    compare(probe, reference, same_precision, folder / "parity.json")
    return json.loads((folder / "parity.json").read_text())


def test_the_largest_and_the_mean_difference_are_over_all_steps(tmp_path):
    found = compared(
        write_run(tmp_path / "probe", [5.0, 4.5, 4.0]), write_run(tmp_path / "reference", [5.0, 4.25, 4.5]), tmp_path
    )
    assert found["by_step"] == [0.0, 0.25, 0.5]
    assert (found["largest"], found["mean"], found["steps"]) == (0.5, 0.25, 3)
    assert found["within"] is False
    assert (found["probe"], found["reference"], found["parallel"]) == ("probe", "reference", "zero2")


@pytest.mark.parametrize(("difference", "within"), [(9e-7, True), (1.1e-6, False)])
def test_fp32_is_within_a_millionth_or_it_is_not(tmp_path, difference, within):
    found = compared(
        write_run(tmp_path / "probe", [5.0 + difference]), write_run(tmp_path / "reference", [5.0]), tmp_path
    )
    assert found["tolerance"] == 1e-6
    assert found["within"] is within


def test_each_precision_has_its_own_tolerance_with_a_reason(tmp_path):
    probe = write_run(tmp_path / "probe", [5.01], precision="bf16")
    found = compared(probe, write_run(tmp_path / "reference", [5.0]), tmp_path)
    allowed = TOLERANCES["bf16"]
    assert (found["tolerance"], found["tolerance_reason"]) == (allowed.difference, allowed.reason)
    assert found["within"] is True


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_judged_by_its_first_twenty_steps_and_shown_to_the_end(tmp_path, precision):
    probe = write_run(tmp_path / "probe", [5.005] * 20 + [6.0] * 5, precision=precision)
    found = compared(probe, write_run(tmp_path / "reference", [5.0] * 25), tmp_path)
    assert (found["compared_steps"], found["steps"], len(found["by_step"])) == (20, 25, 25)
    assert found["largest"] == found["mean"] == pytest.approx(0.005)
    assert found["within"] is True


def test_fp32_is_judged_by_every_step(tmp_path):
    found = compared(
        write_run(tmp_path / "probe", [5.0] * 24 + [5.1]), write_run(tmp_path / "reference", [5.0] * 25), tmp_path
    )
    assert (found["compared_steps"], found["within"]) == (25, False)


@pytest.mark.parametrize(
    ("parallel", "precision", "difference", "steps"),
    [
        (setting(), "fp32", 1e-6, None),
        (setting(tensor=2), "fp32", 5e-4, 20),
        (setting(pipeline=2), "fp32", 1e-5, 20),
        (setting(offload_optimizer="nvme"), "fp32", 1e-6, None),
        (setting(offload_parameters="cpu"), "fp32", 1e-6, None),
        (setting(offload_optimizer="nvme", offload_parameters="nvme"), "fp32", 1e-6, None),
        (setting(tensor=2), "bf16", 2e-2, 20),
    ],
)
def test_a_setting_that_rounds_otherwise_says_so_by_its_options(parallel, precision, difference, steps):
    allowed = find_tolerance(parallel, precision)
    assert (allowed.difference, allowed.steps) == (difference, steps)
    assert allowed.reason


@pytest.mark.parametrize(
    ("parallel", "precision", "difference"),
    [(setting(), "fp32", 1e-5), (setting(tensor=2), "fp32", 5e-4), (setting(), "bf16", 2e-2)],
)
def test_a_gpu_may_add_in_another_order_in_fp32(parallel, precision, difference):
    allowed = find_tolerance(parallel, precision, "cuda")
    assert (allowed.difference, allowed.steps) == (difference, 20)


def test_steps_that_the_loss_scale_skipped_are_counted(tmp_path):
    probe = write_run(tmp_path / "probe", [5.0] * 30, precision="fp16", skipped=(1, 2, 25))
    assert compared(probe, write_run(tmp_path / "reference", [5.0] * 30), tmp_path)["skipped_steps"] == 2


def test_a_probe_that_did_not_finish_has_null_figures_with_its_reason(tmp_path):
    probe = write_run(tmp_path / "probe", [], outcome="unsupported", reason="needs the package deepspeed")
    found = compared(probe, write_run(tmp_path / "reference", [5.0]), tmp_path)
    assert (found["largest"], found["mean"], found["within"], found["by_step"]) == (None, None, None, [])
    assert (found["outcome"], found["reason"]) == ("unsupported", "needs the package deepspeed")


def test_a_reference_that_did_not_finish_is_the_reason_for_null_figures(tmp_path):
    reference = write_run(tmp_path / "reference", [], outcome="out-of-memory", reason="too large")
    found = compared(write_run(tmp_path / "probe", [5.0]), reference, tmp_path)
    assert found["within"] is None
    assert found["reason"] == "its reference ended as out-of-memory: too large"


@pytest.mark.parametrize("other", [{"losses": [5.0], "tokens": 100}, {"losses": [5.0, 4.0], "tokens": 90}])
def test_runs_that_took_other_tokens_are_not_compared(tmp_path, other):
    with pytest.raises(InputError, match="did not take the same tokens"):
        compared(write_run(tmp_path / "probe", [5.0, 4.0]), write_run(tmp_path / "reference", **other), tmp_path)


def same(tmp_path, precision, losses, norm: float | None = 2.0, own_losses=None, **own):
    """What is found of a probe against a reference in its own precision; the one in fp32 always has a loss of 5."""
    probe = write_run(tmp_path / "probe", losses, precision=precision, norm=norm)
    five = [5.0] * len(losses)
    same_precision = write_run(tmp_path / "own", five if own_losses is None else own_losses, precision=precision, **own)
    found = compared(probe, write_run(tmp_path / "reference", five), tmp_path, same_precision)
    assert found["within"] is True
    return found["same_precision"]


@pytest.mark.parametrize(("precision", "difference"), [("bf16", 8e-3), ("fp16", 3e-3)])
@pytest.mark.parametrize(("part", "within"), [(0.9, True), (1.1, False)])
def test_half_precision_is_held_more_tightly_to_a_reference_of_its_own(tmp_path, precision, difference, part, within):
    found = same(tmp_path, precision, [5.0 + part * difference] * 20)
    assert (found["tolerance"], found["reference"], found["within"]) == (difference, "own", within)
    assert SAME_PRECISION[precision].difference < TOLERANCES[precision].difference / 2


@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 2e-2), ("fp16", 1.5e-2)])
@pytest.mark.parametrize(("part", "within"), [(0.9, True), (1.1, False)])
def test_half_precision_is_held_to_the_gradient_norm_of_its_own_reference(tmp_path, precision, tolerance, part, within):
    found = same(tmp_path, precision, [5.0] * 20, norm=2.0 * (1 + part * tolerance))
    assert found["norm"] == pytest.approx(part * tolerance)
    assert (found["norm_tolerance"], found["within"]) == (tolerance, within)


def test_a_step_that_overflowed_has_no_gradient_norm_to_compare(tmp_path):
    assert same(tmp_path, "fp16", [5.0] * 20, norm=None)["norm"] == 0.0


def test_fp32_has_no_second_reference(tmp_path):
    found = compared(write_run(tmp_path / "probe", [5.0]), write_run(tmp_path / "reference", [5.0]), tmp_path)
    assert (found["same_precision"], found["norm"]) == (None, None)


def test_a_reference_of_the_same_precision_that_did_not_finish_leaves_the_other_comparison(tmp_path):
    found = same(tmp_path, "bf16", [5.0], own_losses=[], outcome="out-of-memory", reason="too large")
    assert (found["within"], found["reason"]) == (None, "its reference ended as out-of-memory: too large")
