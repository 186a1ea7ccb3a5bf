import pytest
import torch
import yaml
from torch import nn

from trainyard.config.catalogue import ParallelSetting
from trainyard.core.errors import InputError
from trainyard.models.blocks import find_blocks
from trainyard.optim.optimizers import parameter_groups
from trainyard.parallel.engine import Engine, count_predicted, load_engine


# torch's own, when zero1 imports torch.distributed.optim
@pytest.mark.filterwarnings("ignore:`torch.jit.* is deprecated:DeprecationWarning")
def test_every_setting_of_the_catalogue_has_an_engine(pytestconfig):
    entries = yaml.safe_load((pytestconfig.rootpath / "config" / "parallel.yaml").read_text())
    for entry in entries.values():
        assert issubclass(load_engine(ParallelSetting.model_validate(entry).engine), Engine)


@pytest.mark.parametrize("name", ["launch", "engine", "nonesuch"])
def test_a_file_that_is_no_engine_is_a_users_error_that_names_it(name):
    with pytest.raises(InputError, match=f"no engine '{name}'"):
        load_engine(name)


def test_weight_decay_is_for_matrices_alone_and_frozen_parameters_are_in_no_group():
    model = nn.Sequential(nn.Embedding(5, 4), nn.LayerNorm(4), nn.Linear(4, 3), nn.Linear(3, 2))
    model[3].requires_grad_(False)
    decayed, plain = parameter_groups(model, 0.1)
    assert [parameter.shape for parameter in decayed["params"]] == [(5, 4), (3, 4)]
    assert [parameter.shape for parameter in plain["params"]] == [(4,), (4,), (3,)]
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)


def test_only_labels_that_are_predicted_count():
    batches = [{"labels": torch.tensor([[1, -100], [2, 3]])}, {"labels": torch.tensor([[-100, -100]])}]
    assert count_predicted(batches) == 3


def test_blocks_are_the_members_of_the_outermost_lists_of_modules():
    inner = nn.ModuleDict({"layer": nn.ModuleList([nn.Linear(1, 1)])})
    model = nn.ModuleDict({"head": nn.Linear(1, 1), "trunk": nn.ModuleDict({"blocks": nn.ModuleList([inner, inner])})})
    assert list(find_blocks(model)) == [inner, inner]
