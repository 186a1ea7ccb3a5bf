import json

import pytest

from trainyard.errors import InputError
from trainyard.files import write_json
from trainyard.measure.parity import TOLERANCES, compare


def write_run(folder, losses, outcome="finished", reason=None, precision="fp32", tokens=100):
    folder.mkdir()
    specification = {
        "study": "demo",
        "run": folder.name,
        "parallel": {"name": "zero2"},
        "precision": precision,
        "processes": 2,
        "dataset": "stories",
        "model": {"name": "gpt2-tiny"},
    }
    write_json(folder / "spec.json", specification)
    write_json(folder / "summary.json", {"outcome": outcome, "reason": reason, "steps": len(losses)})
    rows = [{"step": step, "tokens": tokens * step, "loss": loss} for step, loss in enumerate(losses, 1)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def compared(probe, reference, folder):
    compare(probe, reference, folder / "parity.json")
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
    assert (found["tolerance"], found["tolerance_reason"]) == TOLERANCES["bf16"]
    assert found["within"] is True


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
