import dataclasses

import pytest

from trainyard.estimate.parameters import parameters
from trainyard.measure.parity import FP32_ON_GPU
from trainyard.tools.gpu_check.cases import Cases, activation_bytes
from trainyard.tools.gpu_check.facts import Facts
from trainyard.tools.gpu_check.state import State
from trainyard.tools.gpu_check.verdict import judge_case

VERSIONS: dict[str, str | None] = {
    "python": "3.12.3",
    "torch": "2.13.0+cu130",
    "transformers": "5.23.0",
    "cuda": "13.0",
    "driver": "580.1",
}
T4 = Facts("cuda", ["Tesla T4"], 15 * 2**30, 0, "7.5", False, VERSIONS)
H200 = Facts("cuda", ["NVIDIA H200"], 139 * 2**30, 0, "9.0", True, VERSIONS)
THREE = Facts("cuda", ["NVIDIA H200"] * 3, 139 * 2**30, 0, "9.0", True, VERSIONS)


def cases(facts):
    made = Cases(facts, "all")
    return made, {case.name: case for case in made.all()}


def finished(**more):
    return {"outcome": "finished", "reason": None, "at": "2026-01-01T00:00:00+00:00", **more}


def test_a_gpu_without_bf16_is_measured_in_fp16_and_says_what_it_lacks():
    _, found = cases(T4)
    reasons = {name: case.unsupported or "" for name, case in found.items()}
    assert reasons["measure ddp-x1 gpt2-124m fp16 batch 4"] == reasons["parity ddp-x1 gpt2-tiny fp16"] == ""
    assert "capability 7.5" in reasons["parity ddp-x1 gpt2-tiny bf16"]
    assert reasons["parity tensor-x2 gpt2-tiny fp32"] == "needs 2 GPUs, 1 here"


def test_gemini_on_a_torch_that_colossalai_was_not_released_for_is_an_experiment():
    _, found = cases(THREE)
    assert found["measure gemini-x3 gpt2-124m bf16 batch 4"].experiment
    assert not found["measure low-level-zero-x3 gpt2-124m bf16 batch 4"].experiment


def test_settings_that_share_a_model_take_as_many_gpus_as_make_whole_copies():
    _, found = cases(THREE)
    assert found["parity ddp-x3 gpt2-tiny fp32"].specification["data_ranks"] == 3
    assert found["parity tensor-x2 gpt2-tiny fp32"].specification["data_ranks"] == 1


def test_what_is_worth_most_comes_first():
    made, _ = cases(H200)
    names = [case.name for case in made.all()]
    assert len(names) == len(set(names))
    starts = [
        "operators ddp-x1 gpt2-124m bf16 batch 64",
        "operators ddp-x1 gpt2-124m bf16 batch 64 compiled",
        "reference gpt2-tiny ranks1",
        "parity single-x1 gpt2-tiny fp32",
        "measure gemini-x1 opt-125m fp16 batch 8",
        "measure gemini-offload-x1 opt-125m fp16 batch 8",
        "measure ddp-x1 opt-125m fp16 batch 8",
        "measure ddp-x1 gpt2-124m bf16 batch 4",
        "limit ddp-x1 gpt2-124m bf16 batch 4",
        "parity gemini-x1 gpt2-tiny bf16",
    ]
    places = [names.index(name) for name in starts]
    assert places[0] == 0
    assert places == sorted(places)


def test_a_t4_is_measured_by_the_cells_in_fp16_of_its_study():
    _, found = cases(T4)
    zero = found["measure low-level-zero-x1 opt-125m fp16 batch 8"].specification
    assert (zero["sequence_length"], zero["train"]["initial_loss_scale"]) == (1024, 32)
    assert "measure torch-ddp-x1 opt-125m fp16 batch 8" not in found


def test_every_parity_case_has_a_reference_that_comes_before_all_of_them():
    made, _ = cases(THREE)
    kinds = [case.kind for case in made.all()]
    assert kinds.index("parity") - kinds.index("reference") == kinds.count("reference")
    references = {case.name: finished(losses=[1.0]) for case in made.all() if case.kind == "reference"}
    for case in made.all():
        if case.kind == "parity" and case.unsupported is None:
            row = finished(losses=[1.0], skipped_steps=0)
            assert judge_case(case, row, references)["within"]
            assert judge_case(case, row, {})["within"] is None


@pytest.mark.parametrize("facts", [T4, THREE])
def test_the_cases_made_to_run_out_of_memory_do(facts):
    made, found = cases(facts)
    (limit,) = (case.specification for case in found.values() if case.kind == "limit")
    state = 16 * parameters(made.models["gpt2-124m"])
    assert limit["memory_limit"]["bytes"] < state < facts.memory
    (large,) = (case.specification for case in found.values() if case.kind == "too-large")
    assert large["batch"] * activation_bytes(made.models["opt-350m"], 1024) > facts.memory


def test_what_fits_where_it_should_not_is_wrong_and_so_is_a_crash():
    _, found = cases(T4)
    (limit,) = (case for case in found.values() if case.kind == "limit")
    assert judge_case(limit, finished(), {})["right"] is False
    assert judge_case(limit, {"outcome": "out-of-memory", "reason": "CUDA out of memory"}, {})["right"] is True
    measured = found["measure ddp-x1 gpt2-124m fp16 batch 64"]
    assert judge_case(measured, {"outcome": "out-of-memory", "reason": "CUDA out of memory"}, {})["right"] is True
    assert judge_case(measured, {"outcome": "failed", "reason": "TypeError: no"}, {})["right"] is False
    experiment = dataclasses.replace(measured, experiment=True)
    assert judge_case(experiment, {"outcome": "failed", "reason": "TypeError: no"}, {})["right"] is None
    assert judge_case(measured, None, {})["outcome"] == "not run"


@pytest.mark.parametrize(
    ("losses", "right"), [([2.0, 2.0 + 5e-6], True), ([2.0, 2.0 + 2e-5], False), ([float("nan"), 2.0], False)]
)
def test_fp32_on_a_gpu_may_differ_by_one_part_in_a_hundred_thousand_and_must_be_finite(losses, right):
    _, found = cases(T4)
    reference = {"reference gpt2-tiny ranks1": finished(losses=[2.0, 2.0])}
    row = judge_case(found["parity ddp-x1 gpt2-tiny fp32"], finished(losses=losses, skipped_steps=0), reference)
    assert (row["right"], row["tolerance"]) == (right, FP32_ON_GPU.difference)


def test_a_finished_case_is_done_again_on_another_device_and_under_other_versions_alone(tmp_path):
    file, (_, found) = tmp_path / "state.jsonl", cases(T4)
    case = found["parity ddp-x1 gpt2-tiny fp32"]
    State(file, T4).add(case, finished())
    with file.open("a") as torn:
        torn.write('{"key": "half a li')
    later = State(file, dataclasses.replace(T4, in_use=5))
    assert later.get(case) == finished()
    later.add(found["parity ddp-x1 gpt2-tiny fp16"], finished())
    assert len(file.read_text().splitlines()) == 2
    assert State(file, T4).get(found["parity ddp-x1 gpt2-tiny fp16"]) == finished()
    newer = dataclasses.replace(T4, versions=VERSIONS | {"torch": "2.14.0"})
    assert State(file, newer).get(case) is None
    assert State(file, T4, fresh=True).get(case) is None
