from dataclasses import replace
from pathlib import Path

import pytest

from engine_settings import cell_train
from trainyard.config.catalogue import Model, ParallelSetting
from trainyard.estimate.memory import predict_execution
from trainyard.plan.capabilities import Machine
from trainyard.plan.configuration import read_catalogues
from trainyard.plan.measurements import Cell
from trainyard.plan.preflight import available_memory, warn_of_memory
from trainyard.plan.study import plan_study

CONFIG = Path(__file__).parents[2] / "config"
GIB = 2**30


@pytest.fixture(scope="module")
def opt_plugins():
    study = plan_study("opt-plugins", CONFIG, read_catalogues(CONFIG), Machine("cuda"))
    return [*study.runs.values(), *study.cells.values()]


def test_what_exceeds_a_device_is_warned_of_by_name_with_sizes_and_a_remedy(opt_plugins):
    warnings = warn_of_memory(opt_plugins, 16 * GIB)
    cell = "opt-plugins/opt-125m_ddp-x1_fp32_batch128_sequence1024_checkpointed"
    (line,) = [line for line in warnings if cell in line]
    assert line.startswith(f"{cell}: will need about ")
    assert "a GPU has 16.0 GiB; most of it for activations" in line
    assert line.endswith("try a smaller micro-batch, or shorter sequences")
    assert 0 < len(warnings) < len(opt_plugins)


def test_activation_checkpointing_is_a_remedy_where_it_is_off(opt_plugins):
    (cell,) = [each for each in opt_plugins if each.name.startswith("opt-125m_ddp-x1_fp32_batch128_sequence1024")]
    train = cell.specification["train"] | {"activation_checkpointing": False}
    plain = replace(cell, specification={**cell.specification, "train": train})
    (line,) = warn_of_memory([plain], 16 * GIB)
    assert line.endswith("shorter sequences, or activation_checkpointing: true")


def test_nothing_exceeds_a_device_that_is_large_enough(opt_plugins):
    assert warn_of_memory(opt_plugins, 10_000 * GIB) == []


def test_processes_on_cpus_share_the_memory_of_their_machine():
    def cell(processes: int) -> Cell:
        shape = {"layers": 8, "width": 512, "heads": 8, "context": 1024, "vocabulary": 50257}
        model = Model.model_validate({"title": "", "family": "gpt2", "tokenizer": "gpt2", "shape": shape})
        setting = ParallelSetting.model_validate({"title": "", "engine": "ddp", "precision": ["fp32"]})
        return Cell(
            "memory",
            f"x{processes}",
            {
                "kind": "cell",
                "model": {"name": "gpt2", **model.to_spec(pretrained=False)},
                "parallel": {"name": "ddp", **setting.to_spec()},
                "processes": processes,
                "precision": "fp32",
                "train": cell_train(2, 128, ranks=processes),
                "device": "cpu",
            },
        )

    (line,) = warn_of_memory([cell(1), cell(4)], 4 * GIB)
    assert line.startswith("memory/x4: ")
    assert "in each of 4 processes, and this machine has 4.0 GiB" in line


def test_a_search_for_the_largest_batch_has_no_prediction(opt_plugins):
    specifications = [each.specification for each in opt_plugins]
    cells, searches = ([each for each in specifications if each["kind"] == kind] for kind in ("cell", "search"))
    assert all(predict_execution(each) for each in cells)
    assert searches
    assert not any(predict_execution(each) for each in searches)


def test_the_memory_of_this_machine_is_found():
    found = available_memory("cpu")
    assert found is not None
    assert found > GIB
