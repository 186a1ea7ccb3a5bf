import pytest
import torch

from trainyard.parallel.peaks import peak


@pytest.mark.parametrize(
    ("name", "precision", "flops"),
    [
        ("NVIDIA H200", "bf16", 989.4e12),
        ("NVIDIA H100 80GB HBM3", "bf16", 989.4e12),
        ("NVIDIA H100 PCIe", "bf16", 756e12),
        ("NVIDIA A100-SXM4-80GB", "fp32", 19.5e12),
        ("Tesla V100-SXM2-16GB", "fp16", 125e12),
        ("Tesla T4", "fp16", 65e12),
    ],
)
def test_a_known_gpu_has_the_peak_of_its_datasheet(monkeypatch, name, precision, flops):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: name)
    found = peak(torch.device("cuda", 0), precision)
    assert found.flops == flops
    assert "datasheet" in found.source


def test_a_cpu_is_measured_and_says_so():
    found = peak(torch.device("cpu"), "fp32")
    assert found.flops > 1e8
    assert "measured here" in found.source
    assert "threads" in found.source
