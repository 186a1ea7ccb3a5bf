# From sources to rows, tokenizers, tokens and statistics; and pretrained models.
def tokenizer_rows(wildcards):
    kind = CATALOGUES.tokenizers[wildcards.tokenizer].kind
    return f"results/data/{wildcards.dataset}/rows/train.parquet" if kind == "bpe" else []


def tokenizer_model(wildcards):
    entry = CATALOGUES.tokenizers[wildcards.tokenizer]
    return f"results/models/{entry.model}" if entry.kind == "model" else []


rule download:
    output:
        rows="results/data/{dataset}/rows/{split}.parquet",
        index="results/data/{dataset}/rows/{split}.json",
    params:
        dataset=lambda wildcards: CATALOGUES.datasets[wildcards.dataset].of_split(wildcards.split),
        code=lambda wildcards: code_hash(*download_code(wildcards)),
    log:
        "logs/data/download/{dataset}/{split}.log",
    benchmark:
        "logs/data/download/{dataset}/{split}.benchmark.jsonl"
    conda:
        environment("data")
    threads: 1
    resources:
        mem_mb=4000,
        runtime=lambda wildcards: data_minutes(wildcards.dataset),
        network=1,
    message:
        "Download {wildcards.dataset}, split {wildcards.split}"
    script:
        "../workflow/scripts/download.py"


def download_code(wildcards):
    embedded = getattr(CATALOGUES.datasets[wildcards.dataset].source, "embedded", None)
    return ["trainyard.data.sources", *([f"trainyard.data.{embedded}"] if embedded else [])]


def data_minutes(dataset):
    tokens = CATALOGUES.datasets[dataset].tokens or 1_000_000
    return 15 + tokens // 20_000_000


rule tokenizer:
    input:
        rows=tokenizer_rows,
        model=tokenizer_model,
    output:
        folder=directory("results/data/{dataset}/{tokenizer}/tokenizer"),
    params:
        entry=lambda wildcards: CATALOGUES.tokenizers[wildcards.tokenizer].model_dump(mode="json"),
        code=code_hash("trainyard.data.tokenizers"),
    log:
        "logs/data/tokenizer/{dataset}/{tokenizer}.log",
    benchmark:
        "logs/data/tokenizer/{dataset}/{tokenizer}.benchmark.jsonl"
    conda:
        environment("data")
    threads: 1
    resources:
        mem_mb=4000,
        runtime=15,
    message:
        "Make the tokenizer {wildcards.tokenizer} for {wildcards.dataset}"
    script:
        "../workflow/scripts/tokenizer.py"


rule tokenize:
    input:
        rows="results/data/{dataset}/rows/{split}.parquet",
        tokenizer="results/data/{dataset}/{tokenizer}/tokenizer",
    output:
        folder=directory("results/data/{dataset}/{tokenizer}/{split}"),
    params:
        prefix=lambda wildcards: CATALOGUES.prefix(wildcards.tokenizer),
        code=code_hash("trainyard.data.tokenize"),
    log:
        "logs/data/tokenize/{dataset}/{tokenizer}/{split}.log",
    benchmark:
        "logs/data/tokenize/{dataset}/{tokenizer}/{split}.benchmark.jsonl"
    conda:
        environment("data")
    threads: 1
    resources:
        mem_mb=8000,
        runtime=lambda wildcards: data_minutes(wildcards.dataset),
    message:
        "Tokenize {wildcards.dataset}, split {wildcards.split}, with {wildcards.tokenizer}"
    script:
        "../workflow/scripts/tokenize.py"


rule statistics:
    input:
        splits=lambda wildcards: [
            f"results/data/{wildcards.dataset}/{wildcards.tokenizer}/{split}"
            for split in CATALOGUES.datasets[wildcards.dataset].splits
        ],
    output:
        statistics="results/data/{dataset}/{tokenizer}/statistics.json",
    params:
        title=lambda wildcards: CATALOGUES.datasets[wildcards.dataset].title,
        licence=lambda wildcards: CATALOGUES.datasets[wildcards.dataset].licence,
        code=code_hash("trainyard.data.statistics"),
    log:
        "logs/data/statistics/{dataset}/{tokenizer}.log",
    benchmark:
        "logs/data/statistics/{dataset}/{tokenizer}.benchmark.jsonl"
    conda:
        environment("data")
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    message:
        "Count rows, words and tokens of {wildcards.dataset} with {wildcards.tokenizer}"
    script:
        "../workflow/scripts/statistics.py"


rule fetch_model:
    output:
        folder=directory("results/models/{model}"),
    params:
        model=lambda wildcards: CATALOGUES.models[wildcards.model].model_dump(mode="json"),
        code=lambda wildcards: code_hash(
            "trainyard.models.pretrained", f"trainyard.models.{CATALOGUES.models[wildcards.model].family}"
        ),
    log:
        "logs/models/{model}.log",
    benchmark:
        "logs/models/{model}.benchmark.jsonl"
    conda:
        environment("train")
    threads: 1
    resources:
        mem_mb=16000,
        runtime=60,
        network=1,
    message:
        "Fetch the pretrained {wildcards.model}"
    script:
        "../workflow/scripts/fetch_model.py"
