"""The loss of a run before it is trained, from cheaper runs.

forecast.json:

```
{"run": "...", "parameters": 2597760, "tokens": 8000000,
 "law": "L(N, D)", "loss": 1.51, "low": 1.48, "high": 1.54, "reason": null,
 "fit": {"floor": ..., "size_scale": ..., "size_exponent": ..., "tokens_scale": ..., "tokens_exponent": ...},
 "runs": [{"run": "...", "parameters": ..., "tokens": ..., "loss": ..., "sha256": "of its summary.json"}],
 "left_out": {"name": "diverged"},
 "made": "2026-01-01T00:00:00+00:00", "commit": "..."}
```
Where the runs determine no law, `reason` says so, and law, loss and fit are null.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from trainyard.config.catalogue import Model
from trainyard.core.files import sha256_file, write_json
from trainyard.core.repository import describe_repository
from trainyard.core.statistics import LEVEL
from trainyard.core.text import utc_now
from trainyard.estimate.parameters import parameters
from trainyard.report.render.format import plural
from trainyard.report.results.runs import read_runs
from trainyard.report.statistics import chinchilla, power_law
from trainyard.report.statistics.budgets import gather_budgets

BY_SIZE_AND_TOKENS, BY_SIZE = "L(N, D)", "L(N)"
_FOLLOWS = 0.1  # of the logarithm: how far from the tokens that follow from a size a run may be that L(N) is asked for


@dataclass(frozen=True)
class Trained:
    """A run of one size under one budget, with the loss that it came to.

    Attributes:
        parameters: all of them.
        tokens: that it was trained on.
        loss: nats per token.
    """

    parameters: int
    tokens: int
    loss: float


@dataclass(frozen=True)
class Forecast:
    """What is expected of a size under a budget.

    Attributes:
        law: by which law.
        fit: its parameters.
        loss: nats per token.
        low: the lower end of the 95 % prediction interval.
        high: the upper end.
    """

    law: str
    fit: dict[str, float]
    loss: float
    low: float
    high: float


def forecast(runs: Sequence[Trained], size: int, tokens: int) -> Forecast | str:
    """The loss of a size under a budget of tokens by the law that these runs determine, or why there is none.

    That is L(N, D) where sizes and tokens vary apart from each other; L(N) where tokens follow from the size, for a
    run whose tokens do so too.
    """
    sizes, counts = [run.parameters for run in runs], [run.tokens for run in runs]
    losses = [run.loss for run in runs]
    if both := chinchilla.fit(sizes, counts, losses):
        slopes = [both.slopes(run.parameters, run.tokens) for run in runs]
        residuals = [math.log(run.loss / both.loss(run.parameters, run.tokens)) for run in runs]
        loss, at = both.loss(size, tokens), both.slopes(size, tokens)
        return _forecast(BY_SIZE_AND_TOKENS, asdict(both), loss, predict_within(slopes, residuals, at))
    if (law := power_law.fit(sizes, losses)) is None:
        return (
            f"{plural(len(runs), 'run')} of {plural(len(set(sizes)), 'size')} and "
            f"{plural(len(set(counts)), 'budget')} of tokens determine no law: "
            f"that of size and tokens takes {chinchilla.FEWEST_RUNS} pairs of {chinchilla.FEWEST_LEVELS} sizes and "
            f"{chinchilla.FEWEST_LEVELS} budgets or more, that of size alone {power_law.FEWEST_SIZES} sizes, and the "
            "losses must fall with them"
        )
    if not _tokens_follow(runs, size, tokens):
        return "the runs vary size alone, and this one's tokens do not follow from its size as theirs do"
    slopes = [law.slopes(run.parameters) for run in runs]
    residuals = [math.log(run.loss / law.loss(run.parameters)) for run in runs]
    fitted = {"floor": law.floor, "scale": law.scale, "exponent": law.exponent}
    return _forecast(BY_SIZE, fitted, law.loss(size), predict_within(slopes, residuals, law.slopes(size)))


def _forecast(law: str, fitted: dict[str, float], loss: float, within: float) -> Forecast:
    return Forecast(law, fitted, loss, loss * math.exp(-within), loss * math.exp(within))


def _tokens_follow(runs: Sequence[Trained], size: int, tokens: int) -> bool:
    """Whether all tokens are one power of the size, those of the run that is asked for too."""
    x, y = (np.log([getattr(run, name) for run in runs]) for name in ("parameters", "tokens"))
    slope, height = np.polyfit(x, y, 1)
    points = zip([*x, math.log(size)], [*y, math.log(tokens)], strict=True)
    return all(abs(slope * a + height - b) <= _FOLLOWS for a, b in points)


def predict_within(slopes: Sequence[np.ndarray], residuals: Sequence[float], at: np.ndarray) -> float:
    """Half of the 95 % interval of a new observation by a fitted curve, linear about its parameters.

    t s sqrt(1 + g' (G' G)^-1 g) with n - p degrees of freedom (Bates and Watts 1988, Nonlinear Regression Analysis,
    section 2.3, for the curve; one observation's own variance is added).

    Args:
        slopes: of the curve by its p parameters at each of n observations: n of (p).
        residuals: of the observations, (n).
        at: the slopes where it is asked for, (p).
    """
    matrix, errors = np.stack(list(slopes)), np.asarray(residuals)
    degrees = len(errors) - matrix.shape[1]
    leverage = float(np.square(at @ np.linalg.pinv(matrix)).sum())
    deviation = math.sqrt(float(errors @ errors) / degrees)
    return float(stats.t.ppf((1 + LEVEL) / 2, degrees)) * deviation * math.sqrt(1 + leverage)


def leave_out_each_size(runs: Sequence[Trained]) -> list[tuple[Trained, Forecast | str]]:
    """Of each size the run of most tokens, with what the runs of all other sizes would have had expected of it."""
    largest = [max(group, key=lambda run: run.tokens) for group in _by_size(runs).values()]
    return [
        (run, forecast([each for each in runs if each.parameters != run.parameters], run.parameters, run.tokens))
        for run in largest
    ]


def _by_size(runs: Sequence[Trained]) -> dict[int, list[Trained]]:
    groups: dict[int, list[Trained]] = {}
    for run in sorted(runs, key=lambda run: run.parameters):
        groups.setdefault(run.parameters, []).append(run)
    return groups


def make_forecast(target: Mapping[str, Any], summaries: Sequence[Path], output: Path) -> None:
    """Write forecast.json.

    Args:
        target: `run`, `model` (as a specification has it) and `tokens` of the run that is to be trained.
        summaries: summary.json of the runs that it rests on, each beside its spec.json.
        output: the file.
    """
    runs = read_runs([path.parent for path in summaries])
    models = {run.coordinates["model"]: Model.from_spec(run.specification["model"]) for run in runs}
    folders = {run.name: run.folder for run in runs}
    trained = {
        name: Trained(parameters(models[budget.model]), budget.tokens, loss)
        for budget in gather_budgets(runs, models)
        for name, loss in budget.losses.items()
    }
    size, tokens = parameters(Model.from_spec(target["model"])), target["tokens"]
    found = forecast(list(trained.values()), size, tokens)
    expected = {"law": None, "fit": None, "loss": None, "low": None, "high": None, "reason": found}
    if isinstance(found, Forecast):
        expected = {**asdict(found), "reason": None}
    write_json(
        output,
        {
            "run": target["run"],
            "parameters": size,
            "tokens": tokens,
            **expected,
            "runs": [
                {"run": name, **asdict(each), "sha256": sha256_file(folders[name] / "summary.json")}
                for name, each in trained.items()
            ],
            "left_out": {run.name: run.summary["outcome"] for run in runs if not run.finished},
            "made": utc_now(),
            "commit": describe_repository()["commit"],
        },
    )
