"""What Kaplan et al. (2020, Scaling Laws for Neural Language Models, arXiv:2001.08361) say of a size.

All of it is along the frontier where compute is used efficiently, for web text in a BPE of about 50,000 tokens. N is
the parameters without embeddings.
"""

import math
from dataclasses import dataclass

EXPONENT = 0.050 / 0.73  # of loss against parameters


@dataclass(frozen=True)
class Prediction:
    """What is predicted for a size.

    Attributes:
        parameters: N.
        petaflop_days: the compute at which that size is efficient.
        loss: nats per token.
        perplexity: per token.
    """

    parameters: float
    petaflop_days: float
    loss: float
    perplexity: float


def predict_shape(layers: int, width: int) -> Prediction:
    """As `predict`, with N = 12 L d^2.

    Args:
        layers: number of blocks, L.
        width: of the residual stream, d.
    """
    return predict(12 * layers * width**2)


def predict(parameters: float) -> Prediction:
    """PFdays = (N / 1.3e9)^(1 / 0.73); loss = (3.1e8 / PFdays)^0.050; perplexity = e^loss (appendix A)."""
    petaflop_days = _petaflop_days(parameters)
    loss = (3.1e8 / petaflop_days) ** 0.050
    return Prediction(parameters, petaflop_days, loss, math.exp(loss))


def efficient_tokens(parameters: float) -> float:
    """D = 2e10 PFdays^0.27 (appendix A)."""
    return 2e10 * _petaflop_days(parameters) ** 0.27


def efficient_steps(parameters: float) -> float:
    """S = 5.4e3 PFdays^0.03 (appendix A)."""
    return 5.4e3 * _petaflop_days(parameters) ** 0.03


def learning_rate(parameters: float) -> float:
    """0.003239 - 0.0001395 ln N (equation D.1), which from 1.2e10 parameters on is below zero."""
    return 0.003239 - 0.0001395 * math.log(parameters)


def _petaflop_days(parameters: float) -> float:
    return (parameters / 1.3e9) ** (1 / 0.73)
