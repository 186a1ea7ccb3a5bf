import pytest

from engine_settings import cell_train
from trainyard.config.catalogue import Model
from trainyard.estimate.parameters import flops_per_pair, flops_per_token, megatron_flops
from trainyard.measure.worker import compute_flops, compute_speed

SHAPE = {"layers": 2, "width": 32, "heads": 4, "context": 32, "vocabulary": 300}


def cell(family="gpt2", **train):
    model = {"name": "tiny", "family": family, "tokenizer": "bytes", "shape": SHAPE}
    return {
        "model": model,
        "processes": 2,
        "batch": 8,
        "sequence_length": 10,
        "train": cell_train(8, 10, ranks=2, **train),
    }


def test_throughput_is_of_all_data_ranks_by_the_median_step():
    found = compute_speed([1.0, 2.0, 4.0], cell(), data_ranks=2)
    assert (found["samples_per_second"], found["tokens_per_second"]) == (8.0, 80.0)
    assert found["step_seconds"] == pytest.approx({"median": 2.0, "p10": 1.2, "p90": 3.6})


def test_of_pairs_the_tokens_of_targets_are_counted_as_a_training_counts_them():
    found = compute_speed([2.0], cell("bart", target_length=3), data_ranks=2)
    assert (found["samples_per_second"], found["tokens_per_second"]) == (8.0, 24.0)
    counted = compute_flops([2.0], cell("bart", target_length=3), data_ranks=2)
    model = Model.from_spec(cell("bart")["model"])
    assert counted["tflops"] == pytest.approx(4 * flops_per_pair(model, 10, 3) / 1e12)
    assert counted["tflops_formula"].startswith("pairs/s")


def test_processes_that_share_a_copy_of_the_model_take_one_batch():
    assert compute_speed([2.0], cell(), data_ranks=1)["samples_per_second"] == 4.0


def test_flops_are_counted_by_both_forms_for_one_process():
    found = compute_flops([2.0], cell(), data_ranks=2)
    model = Model.from_spec(cell()["model"])
    assert found["tflops"] == pytest.approx(8 * 10 * flops_per_token(model, 10) / 2.0 / 1e12)
    assert found["tflops_megatron"] == pytest.approx(megatron_flops(model, 8, 10, False) / 2.0 / 1e12)


def test_processes_that_share_a_copy_of_the_model_share_its_work():
    alone, shared = (compute_flops([2.0], cell(), data_ranks=ranks) for ranks in (2, 1))
    for count in ("tflops", "tflops_megatron"):
        assert shared[count] == pytest.approx(alone[count] / 2)


@pytest.mark.parametrize(("family", "holds"), [("opt", True), ("gpt2", True), ("llama", False), ("bart", False)])
def test_megatrons_form_is_given_where_it_holds(family, holds):
    found = compute_flops([2.0], cell(family), data_ranks=2)
    assert (found["tflops_megatron"] is not None) is holds
