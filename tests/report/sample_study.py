"""A study with every kind of outcome in its results."""

from typing import Any

from .sample_results import Results
from .sample_text import HOSTILE

STUDY: dict[str, Any] = {
    "title": f"Small models of a small world {HOSTILE}",
    "question": "Does a model of a million parameters learn the facts of tinyworld?",
    "grids": [
        {
            "datasets": ["tinyworld"],
            "models": ["gpt2-1m", "gpt2-500k", "gpt2-250k"],
            "train": {"steps": 400, "batch": 16, "learning_rate": 1e-3},
        }
    ],
    "scaling": True,
    "published": [
        {
            "model": "gpt2-124m",
            "values": {"validation_loss": 1.21, "hellaswag_acc_norm": 31.14, "perplexity_word": 37.4},
            "protocol": "harness, 0-shot, hellaswag; perplexity of wikitext-2",
            "source": f"a paper {HOSTILE}",
        }
    ],
}


def fill(results: Results) -> Results:
    """A study with everything in it."""
    results.add_run("gpt2-1m-s1", end=1.18)
    results.add_run("gpt2-500k-s1", model="gpt2-500k", end=1.34)
    results.add_run("gpt2-250k-s1", model="gpt2-250k", end=1.55)
    results.add_run("gpt2-1m-hot", recipe="lr-1", outcome="diverged", reason="loss not finite at step 60", steps=60)
    results.add_run("gpt2-1m-zero3", parallel="zero3", outcome="unsupported", reason=HOSTILE, steps=0)
    results.add_run("gpt2-1m-ddp", parallel="ddp", outcome="out-of-memory", reason="rank 1, step 1", steps=0)
    easy = ("facts", "last-move", "earlier-move", "carried")
    for run, scores in (
        ("gpt2-1m-s1", (0.97, 0.62, 0.31, 0.27)),
        ("gpt2-500k-s1", (0.95, 0.41, 0.27, 0.24)),
        ("gpt2-250k-s1", (0.71, 0.27, 0.25, 0.26)),
    ):
        results.add_levels(run, dict(zip(easy, scores, strict=True)), answers=run == "gpt2-1m-s1")
        scale = sum(scores)
        results.add_evaluation(
            run,
            "perplexity",
            {
                "loss_token": (1.9 - 0.3 * scale, 0.01),
                "perplexity_token": (7 - scale, 0.05),
                "perplexity_word": (14 - 2 * scale, 0.1),
                "perplexity_byte": (1.7, 0.01),
                "bits_per_byte": (0.8, 0.01),
            },
            dataset="tinyworld-stories",
            settings={"context": 128, "stride": 64},
        )
    for run in ("gpt2-1m-hot", "gpt2-1m-zero3", "gpt2-1m-ddp"):
        results.add_evaluation(
            run,
            "perplexity",
            None,
            dataset="tinyworld-stories",
            reason=f"no model: {HOSTILE}",
            settings={"context": 128, "stride": 64},
        )
    results.add_shortcuts()
    for parallel, largest in (("ddp", 1.1e-7), ("zero1", 1.3e-7), ("fsdp", 2.0e-7), ("zero2", 2.4e-7)):
        results.add_parity(parallel, largest)
    results.add_parity("zero3", None, outcome="unsupported", reason=f"no compiler {HOSTILE}")
    results.add_parity("ddp", 8.2e-3, precision="bf16")
    for parallel, speed in (("single", 21_000), ("ddp", 26_000), ("fsdp", 22_500), ("zero2", 19_800)):
        for batch in (8, 32):
            results.add_cell(parallel, batch, speed * (1 + batch / 100))
    results.add_cell("ddp", 128, None, "out-of-memory", HOSTILE)
    results.add_search("ddp", 96)
    results.add_search("fsdp", 120)
    text = {"train": {"rows": 20_000, "words": 1_200_000, "tokens": 1_610_000, "bytes": 6_000_000}}
    results.add_statistics("tinyworld", {**text, "test": {"rows": 1000, "words": 60_000, "tokens": 80_500}})
    pairs = {"rows": 14_732, "words": 1_700_000, "tokens": 2_560_000}
    pairs |= {"source_words": 94.2, "source_tokens": 147.1, "target_words": 20.3, "target_tokens": 26.4}
    results.add_statistics("samsum", {"train": pairs})
    results.add_duplicates("tinyworld", "tinyworld", "test", 1000, 12)
    return results
