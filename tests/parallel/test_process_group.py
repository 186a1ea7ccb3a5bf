"""How processes join; what NCCL is told, without a GPU to tell it of."""

import pytest
import torch

from trainyard.parallel import process_group


@pytest.mark.parametrize("local_rank", [0, 3])
def test_nccl_is_told_this_process_s_own_gpu(monkeypatch, local_rank):
    monkeypatch.setenv("LOCAL_RANK", str(local_rank))
    monkeypatch.setenv("RANK", str(local_rank + 8))  # on a second machine the two differ
    asked = process_group.group_arguments("cuda")
    assert asked == {"backend": "cpu:gloo,cuda:nccl", "device_id": torch.device("cuda", local_rank)}


def test_gloo_is_told_no_device():
    assert process_group.group_arguments("cpu") == {"backend": "gloo"}
