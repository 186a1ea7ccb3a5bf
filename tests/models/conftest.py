from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from trainyard.config.catalogue import Model
from trainyard.config.yaml_entries import parse_entries
from trainyard.estimate.families import load_family

TINY = ("opt-tiny", "gpt2-tiny", "gpt2-modern-tiny", "llama-tiny", "bart-tiny", "t5-tiny")
MODELS: dict[str, Model] = parse_entries(Model, Path(__file__).parents[2] / "config/models.yaml")


@pytest.fixture(params=TINY)
def tiny(request: pytest.FixtureRequest) -> str:
    """The name of one small model of each family."""
    return request.param


def batch(entry: Model, rows: int = 3, time: int = 12, seed: int = 0) -> dict[str, Tensor]:
    """Random tokens, of which unequal numbers are predicted in each row."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(4, entry.shape.vocabulary, (rows, time + 1), generator=generator)
    labels = tokens[:, 1:].clone()
    for row in range(rows):
        labels[row, time - 2 * row :] = -100
    made = {"input_ids": tokens[:, :-1], "labels": labels}
    if load_family(entry.family).is_encoder_decoder:
        source = torch.randint(4, entry.shape.vocabulary, (rows, 9), generator=generator)
        mask = torch.ones_like(source)
        mask[-1, 5:] = 0
        made = {
            "input_ids": source,
            "attention_mask": mask,
            "decoder_input_ids": tokens[:, :-1],
            "labels": labels,
        }
    return made


def logits(model: Any, made: dict[str, Tensor]) -> Tensor:
    return model(**{name: tensor for name, tensor in made.items() if name != "labels"}).logits
