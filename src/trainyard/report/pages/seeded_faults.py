"""What parity finds of seeded faults, by precision; written by `make faults`."""

from typing import Any

SEEDED_IN = "gpt2-tiny"
SEEDED: dict[str, dict[str, dict[str, Any]]] = {
    "fp32": {
        "weight decay dropped": {"largest": 0.018, "norm": None, "found": True},
        "a wrong beta2 (0.999, not 0.95)": {"largest": 0.019, "norm": None, "found": True},
        "clipping off": {"largest": 0.0, "norm": None, "found": False},
        "a learning rate 2 % too high": {"largest": 0.026, "norm": None, "found": True},
        "one rank's gradient lost": {"largest": 0.051, "norm": None, "found": True},
        "an attention mask off by one": {"largest": 0.0073, "norm": None, "found": True},
        "labels off by one": {"largest": 0.058, "norm": None, "found": True},
    },
    "bf16": {
        "weight decay dropped": {"largest": 0.018, "norm": 0.0038, "found": True},
        "a wrong beta2 (0.999, not 0.95)": {"largest": 0.025, "norm": 0.0042, "found": True},
        "clipping off": {"largest": 0.013, "norm": 0.037, "found": True},
        "a learning rate 2 % too high": {"largest": 0.025, "norm": 0.012, "found": True},
        "one rank's gradient lost": {"largest": 0.044, "norm": 0.59, "found": True},
        "an attention mask off by one": {"largest": 0.0073, "norm": 0.11, "found": True},
        "labels off by one": {"largest": 0.067, "norm": 0.1, "found": True},
    },
    "fp16": {
        "weight decay dropped": {"largest": 0.018, "norm": 0.0029, "found": True},
        "a wrong beta2 (0.999, not 0.95)": {"largest": 0.025, "norm": 0.0042, "found": True},
        "clipping off": {"largest": 0.013, "norm": 0.037, "found": True},
        "a learning rate 2 % too high": {"largest": 0.026, "norm": 0.012, "found": True},
        "one rank's gradient lost": {"largest": 0.044, "norm": 0.59, "found": True},
        "an attention mask off by one": {"largest": 0.0071, "norm": 0.12, "found": True},
        "labels off by one": {"largest": 0.067, "norm": 0.1, "found": True},
    },
}
