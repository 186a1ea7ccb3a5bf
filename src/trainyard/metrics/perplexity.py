"""Perplexity per token, word and byte, and the losses that it is the exponential of."""

from trainyard.metrics.base import Metric, ScoreKind

PERPLEXITY = Metric(
    key="perplexity",
    reads="text",
    needs_pairs=False,
    higher_is_better=False,
    scores=(
        ScoreKind("loss_token", "loss per token", "loss per token", 3, tabulated=False, unit="tokens"),
        ScoreKind("perplexity_token", "perplexity per token", "ppl/token", unit="tokens", form="exponential"),
        ScoreKind("perplexity_word", "perplexity per word", "ppl/word", unit="words", form="exponential"),
        ScoreKind(
            "perplexity_byte", "perplexity per byte", "ppl/byte", 3, shown=False, unit="bytes", form="exponential"
        ),
        ScoreKind("bits_per_byte", "bits per byte", "bits per byte", 3, tabulated=False, unit="bytes", form="bits"),
    ),
    headline="perplexity_word",
    topic="Perplexity",
    told=("perplexity_word",),
    item="document",
    tokens_per_item=1_000,
    # of one tokenizer that per token has the same p, of several it does not compare
    tested=("perplexity_word",),
    instead=("perplexity_word", "perplexity_byte"),  # text without spaces has no words
    comparable=("protocol", "limit", "context", "stride"),
    item_columns=("tokens", "words", "bytes", "log_likelihood"),
)
