"""The loss that Kaplan et al. predict for a size."""

import math
from dataclasses import dataclass

EXPONENT = 0.050 / 0.73  # of loss against parameters, along the compute-efficient frontier


@dataclass(frozen=True)
class Prediction:
    """What Kaplan et al. predict for a shape.

    Attributes:
        parameters: N, without embeddings.
        petaflop_days: the compute at which that size is efficient.
        loss: nats a token.
        perplexity: a token.
    """

    parameters: float
    petaflop_days: float
    loss: float
    perplexity: float


def kaplan(layers: int, width: int) -> Prediction:
    """Loss predicted from depth and width.

    N = 12 L d^2; PFdays = (N / 1.3e9)^(1 / 0.73); loss = (3.1e8 / PFdays)^0.050;
    perplexity = e^loss. Source: Kaplan et al. 2020, "Scaling Laws for Neural Language
    Models" (arXiv:2001.08361), appendix A: size and loss along the compute-efficient
    frontier.

    Args:
        layers: number of blocks, L.
        width: of the residual stream, d.
    """
    return predict(12 * layers * width**2)


def predict(parameters: float) -> Prediction:
    """Kaplan's prediction for N parameters without embeddings."""
    petaflop_days = (parameters / 1.3e9) ** (1 / 0.73)
    loss = (3.1e8 / petaflop_days) ** 0.050
    return Prediction(parameters, petaflop_days, loss, math.exp(loss))
