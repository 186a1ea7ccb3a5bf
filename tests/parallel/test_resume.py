import pytest

ENGINES = {
    "single": ("single", {}),
    "ddp": ("ddp", {}),
    "zero1": ("zero1", {}),
    "fsdp": ("fsdp", {}),
    "fsdp-offload": ("fsdp", {"offload": True}),
    "tensor": ("tensor", {}),
    "pipeline": ("pipeline", {}),
    "zero0": ("deepspeed", {"level": 0}),
    "zero1-deepspeed": ("deepspeed", {"level": 1}),
    "zero2": ("deepspeed", {"level": 2}),
    "zero3": ("deepspeed", {"level": 3}),
    "zero2-offload": ("deepspeed", {"level": 2, "offload_optimizer": "cpu"}),
    "zero3-offload": ("deepspeed", {"level": 3, "offload_optimizer": "cpu", "offload_parameters": "cpu"}),
    "zero3-infinity-parameters": (
        "deepspeed",
        {"level": 3, "offload_optimizer": "nvme", "offload_parameters": "nvme", "sub_group": 300_000},
    ),
    "torch-ddp": ("colossalai", {"plugin": "torch-ddp"}),
    "low-level-zero-1-offload": ("colossalai", {"plugin": "low-level-zero", "level": 1, "offload": True}),
    "low-level-zero": ("colossalai", {"plugin": "low-level-zero", "level": 2}),
}


ONCE = ["rank-00000.pt"]
EACH = ["rank-00000.pt", "rank-00001.pt"]
# what all ranks hold alike is written once
FILES = {
    **dict.fromkeys(("single", "ddp", "zero0", "torch-ddp"), ONCE),
    **dict.fromkeys(("fsdp", "fsdp-offload", "tensor", "pipeline", "low-level-zero"), EACH),
    "zero1": ["optimizer-00000.pt", "optimizer-00001.pt", "rank-00000.pt"],
}

ADAPTED = ("single", "ddp", "fsdp", "pipeline", "zero2", "zero3")

# large enough that DeepSpeed swaps it: parts of 1 MiB and more
SHAPES = {"zero3-infinity-parameters": {"width": 128, "vocabulary": 8400}}


@pytest.mark.slow
@pytest.mark.parametrize("name", ENGINES)
def test_steps_saved_loaded_and_taken_on_are_bitwise_those_taken_straight(name, drive):
    engine, options = ENGINES[name]
    settings = {"engine": engine, "options": options, "accumulation": 2, "order": [0, 1, 2, 3]}
    processes = 1 if engine == "single" else 2
    if engine in ("single", "tensor", "pipeline"):
        settings["accumulation"] = 4
    if engine in ("tensor", "pipeline"):
        settings[engine] = 2
    if name in SHAPES:
        settings["shape"] = SHAPES[name]
    # bf16, where masters and what is computed with are two things
    found = drive(processes, what="resume", family="gpt2", steps=4, precision="bf16", **settings)
    assert found["again"] == found["on"]
    assert found["different"] == []
    assert found["names"]
    assert found["dtypes"] == ["torch.float32"]
    assert found["moved"] > 1e-3
    assert found["files"] == FILES.get(name, found["files"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ADAPTED)
def test_so_are_those_of_adapters_alone(name, drive):
    engine, options = ENGINES[name]
    settings = {"engine": engine, "options": options, "accumulation": 2, "order": [0, 1, 2, 3]}
    if engine in ("single", "pipeline"):
        settings |= {"accumulation": 4, engine: 2}
    processes = 1 if engine == "single" else 2
    lora = {"rank": 4}
    found = drive(processes, what="resume", family="gpt2", steps=3, precision="bf16", lora=lora, **settings)
    assert found["again"] == found["on"]
    assert found["different"] == []
    assert found["moved"] > 1e-4
