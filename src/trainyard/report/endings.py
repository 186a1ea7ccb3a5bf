"""What the scores on four-way endings say, in sentences."""

from trainyard.report.evidence import Evidence, ranked
from trainyard.report.format import counted, fixed, listed, percent
from trainyard.report.items import ALL, CLEAR, Items, Scored, beaten, gather, head_of, misled, pooled
from trainyard.report.results import Score, guesses
from trainyard.report.verdicts import NOISE, near_best, of_second, over_seeds

MOST = 12


def endings(evidence: Evidence) -> list[str]:
    """The best model against chance and shortcuts, by level, and how far the second lies below it."""
    said = over_seeds(evidence, ("acc",))
    groups = ranked(evidence, "hellaswag", "acc")
    for items, group in zip(gather(evidence.runs, evidence.evaluations, evidence.shortcuts), groups, strict=True):
        head = head_of(evidence.runs, items)
        best = items.models[head.place]
        seeds = f", the middle one of its {len(head.values)} seeds," if len(head.values) > 1 else ""
        n, value = best.levels[ALL]
        text = f"{best.title}{seeds} names the right ending in {_share(value)} of {counted(n, 'item')} ({items.title}"
        if value.interval:
            low, high = (fixed(100 * end, 1) for end in value.interval)
            text += f"; 95 % interval {low} to {high}"
        text += ")"
        above = beaten(best, items, ALL)
        if above:
            text += f", {distance(above[1])} {above[0]}{_hardest(items)}"
        said.append(f"{text}.")
        said += _by_level(best, items)
        if len(items.models) > 1 and not head.several:
            second = _share(items.models[1].levels[ALL][1])
            said.append(f"Second is {items.models[1].title} with {second}, {of_second(group, 'acc')}.")
            if near := near_best(group, "acc"):
                said.append(f"Within noise of the best too: {listed(near[:MOST])}.")
        said += _misled(items)
        guessing = [model.title for model in items.models if guesses(model.levels[ALL][1], items.chance)]
        if guessing:
            said.append(f"Within noise of chance: {listed(guessing[:MOST])}.")
    return said


def _misled(items: Items) -> list[str]:
    """Where models do worse than guessing: they follow a rule that is wrong there."""
    said = []
    for level in items.levels[1:] or items.levels:
        below = [model for model in items.models if misled(model, items, level)]
        if below:
            names = [f"{model.title} ({_share(model.levels[level][1])})" for model in below[:MOST]]
            more = f" and {len(below) - MOST} more" if len(below) > MOST else ""
            least = min(errors for model in below if (errors := misled(model, items, level)))
            apart = f"{fixed(least, 1)} standard errors{' or more' if len(below) > 1 else ''}"
            said.append(
                f"Below chance on {level}, by {apart}: {listed(names)}{more}. Guessing would be right more often: "
                "a shortcut learned on the way answers these items wrongly."
            )
    return said


def _share(value: Score) -> str:
    if not value.error and value.interval:  # all items agree
        low, high = (fixed(100 * end, 1) for end in value.interval)
        return f"{fixed(100 * value.value, 1)} % [{low}, {high}]"
    return percent(value.value, value.error)


def _hardest(items: Items) -> str:
    return ", the hardest to beat of chance and shortcuts" if items.shortcuts else ""


def _by_level(model: Scored, items: Items) -> list[str]:
    won, lost = {}, []
    for level in items.levels[1:]:
        if level not in model.levels:
            continue
        above = beaten(model, items, level)
        if above is not None:
            text = f"{level} ({_share(model.levels[level][1])})"
            if above[1] >= CLEAR:
                won[level] = text
            elif not misled(model, items, level):
                lost.append(text)
    said = []
    if won:
        said.append(
            f"By level it beats chance and each shortcut by {CLEAR:.0f} standard errors or more on "
            f"{listed(list(won.values()))}."
        )
    if lost:
        said.append(f"It does not on {listed(lost)}.")
    if 1 < len(won) < len(items.levels) - 1:  # on all levels it is the first sentence
        n, value, above = pooled(model, items, list(won))
        text = f"On {listed(list(won))} together ({n:,} items) it is right in {_share(value)}"
        said.append(f"{text}, {distance(above[1])} {above[0]}{_hardest(items)}." if above else f"{text}.")
    return said


def distance(errors: float) -> str:
    """A difference in combined standard errors, in words; within two of them it is noise."""
    if abs(errors) < NOISE:
        return f"within noise ({fixed(errors, 1)} standard errors) of"
    return f"{fixed(abs(errors), 1)} standard errors {'above' if errors > 0 else 'below'}"
