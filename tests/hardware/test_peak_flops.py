import pytest
import torch

from trainyard.hardware import device_peak
from trainyard.hardware.device_peak import REPEATS, SIDES, count_products, find_peak
from trainyard.hardware.peak_flops import Peak, compute_mfu


@pytest.mark.parametrize(
    ("name", "precision", "flops"),
    [
        ("NVIDIA B200", "bf16", 2250e12),
        ("NVIDIA H200", "bf16", 989.4e12),
        ("NVIDIA H200 NVL", "bf16", 835.5e12),
        ("NVIDIA H100 80GB HBM3", "bf16", 989.4e12),
        ("NVIDIA H100 PCIe", "bf16", 756e12),
        ("NVIDIA A100-SXM4-80GB", "fp32", 19.5e12),
        ("NVIDIA A100 80GB PCIe", "fp16", 312e12),
        ("NVIDIA A10", "bf16", 125e12),
        ("NVIDIA L4", "fp32", 30.3e12),
        ("NVIDIA L40S", "bf16", 362e12),
        ("Tesla V100-SXM2-16GB", "fp16", 125e12),
        ("Tesla V100-PCIE-32GB", "fp16", 112e12),
        ("Tesla T4", "fp16", 65e12),
        ("NVIDIA RTX 6000 Ada Generation", "fp32", 91.1e12),
        ("NVIDIA GeForce RTX 3090 Ti", "fp16", 80e12),
        ("NVIDIA GeForce RTX 4090", "bf16", 165.2e12),
        ("NVIDIA B300 SXM6 AC", "fp16", 2250e12),
        ("NVIDIA H20", "fp32", 44e12),
        ("NVIDIA H20-3e", "bf16", 148e12),
        ("NVIDIA GeForce RTX 3080", "fp16", 59.5e12),
        ("NVIDIA GeForce RTX 4070", "bf16", 58.3e12),
        ("NVIDIA GeForce RTX 4090 D", "fp32", 73.5e12),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "bf16", 503.8e12),
        ("Quadro RTX 8000", "fp16", 130.5e12),
        ("Tesla P100-SXM2-16GB", "fp32", 10.6e12),
        ("Tesla P100-PCIE-12GB", "fp32", 9.3e12),
    ],
)
def test_a_known_gpu_has_the_peak_of_its_datasheet(monkeypatch, name, precision, flops):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: name)
    found = find_peak(torch.device("cuda", 0), precision)
    assert found.flops == flops
    assert found.source.startswith("NVIDIA's")
    assert name in found.source


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        ("Tesla T4", "bf16"),  # which it does not compute in
        ("NVIDIA B200", "fp32"),
        ("NVIDIA A10G", "fp16"),  # no A10, and of two minds
        ("NVIDIA B300 SXM6 AC", "fp32"),
        ("NVIDIA GB200", "bf16"),
        ("Quadro RTX 8000", "bf16"),
        ("NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition", "bf16"),
        ("NVIDIA GeForce RTX 3080 Ti", "fp16"),
        ("NVIDIA GeForce RTX 3080 Laptop GPU", "fp16"),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "fp32"),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "bf16"),
        ("Tesla P100-PCIE-16GB", "fp16"),  # of which only sums in fp16 are known
    ],
)
def test_an_unknown_gpu_is_measured(monkeypatch, name, precision):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: name)
    monkeypatch.setattr(device_peak, "measure_peak", lambda *_: Peak(1.0, "measured"))
    assert find_peak(torch.device("cuda", 0), precision).source == "measured"


def test_a_cpu_is_measured_several_times_and_the_best_counts():
    found = find_peak(torch.device("cpu"), "fp32")
    assert found.flops == max(found.rates) > 1e8
    assert len(found.rates) == REPEATS
    assert found.source.startswith("measured: the best")
    assert "thread" in found.source


def test_a_gpu_is_measured_by_large_products_of_which_many_wait_in_one_queue():
    assert min(SIDES["cuda"]) >= 8192
    one = 2 * 8192**3 / 989.4e12  # of an H200 in bf16
    assert count_products(one, 0.5) * one == pytest.approx(0.5, rel=0.01)
    assert count_products(0.14, 0.5) == 10  # of a T4 in fp32


def of(name, **more):
    """A file of a peak."""
    return {"device": "cpu", "device_name": name, "precision": "fp32", "flops": 2e12, "source": "s", **more}


def test_utilisation_is_a_share_of_the_peak_of_its_own_kind_of_device():
    assert compute_mfu(5e11, "A", of("A")) == {"mfu": 0.25, "mfu_reason": None, "peak_flops": 2e12, "peak_source": "s"}


def test_on_another_processor_than_the_peaks_there_is_no_utilisation_but_the_reason():
    found = compute_mfu(5e11, "B", of("A"))
    assert (found["mfu"], found["peak_flops"]) == (None, None)
    assert found["mfu_reason"] == "it ran on B, and the peak is of A"


def test_a_gpu_of_another_kind_has_the_peak_of_its_own_datasheet_if_it_is_known():
    peak = of("NVIDIA H200", device="cuda", precision="bf16")
    assert compute_mfu(156e12, "NVIDIA A100-SXM4-80GB", peak)["mfu"] == 0.5
    assert compute_mfu(156e12, "NVIDIA A10G", peak)["mfu_reason"]


@pytest.mark.parametrize(("flops", "peak"), [(None, of("A")), (1e9, None)])
def test_without_flops_or_a_peak_there_is_no_utilisation(flops, peak):
    assert set(compute_mfu(flops, "A", peak).values()) == {None}
