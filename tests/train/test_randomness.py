"""Seeding, saving and restoring the random states of a rank."""

import random

import numpy as np
import torch

from trainyard.core.files import write_json
from trainyard.train.checkpoint import load_randomness, randomness, seed_rank


def draw():
    normal = float(np.random.standard_normal())
    return torch.rand(3).tolist(), torch.randn(17).tolist(), normal, np.random.rand(2).tolist(), random.random()


def test_every_generator_goes_on_as_if_nothing_had_happened(tmp_path):
    seed_rank(3, 0)
    draw()
    random.gauss(0, 1)
    write_json(tmp_path / "random.json", randomness())
    expected = draw()
    seed_rank(4, 1)
    load_randomness(tmp_path / "random.json")
    assert draw() == expected


def test_ranks_and_seeds_draw_differently_and_repeatably():
    drawn = []
    for seed, rank in ((1, 0), (1, 1), (2, 0), (1, 0)):
        seed_rank(seed, rank)
        drawn.append(draw())
    assert drawn[0] == drawn[3]
    assert drawn[0] != drawn[1] != drawn[2] != drawn[0]
