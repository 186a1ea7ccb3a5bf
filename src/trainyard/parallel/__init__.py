"""How a run is spread over devices: an engine a file, torch's own in pytorch/, those of a framework in its folder."""

FRAMEWORKS = ("deepspeed", "colossalai")


def engine_module(engine: str) -> str:
    """The module that holds an engine of config/parallel.yaml."""
    return f"trainyard.parallel.{engine}.engine" if engine in FRAMEWORKS else f"trainyard.parallel.pytorch.{engine}"
