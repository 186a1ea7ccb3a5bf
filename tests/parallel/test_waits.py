"""How often a step lets the host wait for its device."""

import pytest
import torch

from trainyard.parallel.engine import read_together, square_sum

from .test_parity import ENGINES

DECODERS = ["gpt2", "opt", "gpt2_modern", "llama"]
FAMILIES = [*DECODERS, "bart", "t5"]
TORCH = {name: engine for name, engine in ENGINES.items() if engine[0] not in ("deepspeed", "colossalai")}


def ours(reads, kind="method"):
    return {place: count for place, count in reads.items() if place.startswith(f"ours {kind}")}


def reads_of(drive, processes, families, **settings):
    usual = {"accumulation": 2, "options": {}, "precision": "fp32", "families": families}
    return drive(processes, "sync_driver", **usual | settings)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_step_of_one_process_reads_its_device_once(precision, drive):
    for family, reads in reads_of(drive, 1, FAMILIES, precision=precision, engine="single").items():
        assert ours(reads) == {"ours method engine.py read_together": 1}, family
        assert not ours(reads, "scalar"), family


@pytest.mark.slow
@pytest.mark.parametrize("name", TORCH)
def test_so_does_every_process_of_an_engine_of_torch(name, drive):
    engine, options, _ = ENGINES[name]
    for family, reads in reads_of(drive, 2, FAMILIES, engine=engine, options=options).items():
        assert reads == {"ours method engine.py read_together": 1}, family


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "copy"), [("tensor", {"tensor": 2}), ("pipeline", {"pipeline": 2})])
def test_so_does_every_process_of_a_shared_copy(engine, copy, drive):
    for family, reads in reads_of(drive, 2, DECODERS, engine=engine, shape={"feed_forward": 64}, **copy).items():
        assert reads == {"ours method engine.py read_together": 1}, family


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ENGINES if ENGINES[name][0] == "deepspeed"])
def test_around_deepspeed_we_read_once(name, drive):
    engine, options, _ = ENGINES[name]
    (reads,) = reads_of(drive, 2, ["gpt2"], engine=engine, options=options).values()
    assert ours(reads) == {"ours method engine.py read_together": 1}


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ENGINES if ENGINES[name][0] == "colossalai"])
def test_around_colossalai_we_read_the_losses_and_with_its_ddp_the_norm(name, drive):
    engine, options, _ = ENGINES[name]
    (reads,) = reads_of(drive, 2, ["gpt2"], engine=engine, options=options).values()
    norm = {"ours method torch_ddp.py step": 1} if name == "torch-ddp" else {}
    assert ours(reads) == {"ours method engine.py train_step": 1, **norm}


@pytest.mark.parametrize("shapes", [[], [(5,)], [(3, 4), (7,), (2, 2, 2)]])
def test_the_norm_of_a_gpu_is_that_of_a_cpu_in_few_kernels(shapes):
    torch.manual_seed(0)
    tensors = [torch.randn(shape) for shape in shapes]
    exact = sum(float(tensor.double().square().sum()) for tensor in tensors)
    assert square_sum(tensors).item() == pytest.approx(exact, rel=1e-12)
    assert square_sum([tensor.to("meta") for tensor in tensors]).shape == ()
    norms = torch._foreach_norm(tensors, dtype=torch.float32) if tensors else []  # pyright: ignore[reportPrivateImportUsage]
    assert sum(norm.double().item() ** 2 for norm in norms) == pytest.approx(exact, rel=1e-6)


def test_what_is_read_together_is_read_in_fp64():
    exact = 1 + 2.0**-40
    assert read_together(torch.tensor(exact, dtype=torch.float64), torch.tensor([0.5])) == [exact, 0.5]
