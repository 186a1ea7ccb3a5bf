# From sources to rows, tokenizers, tokens, statistics and duplicates; and pretrained models.
rule download:
    input:
        # their paths are from the working folder, whatever prefix an importing workflow gives to results
        files=lambda wildcards: list(map(local, JOBS.plain_files(wildcards))),
    output:
        rows="results/data/{dataset}/rows/{split}.parquet",
        index="results/data/{dataset}/rows/{split}.json",
    log:
        "logs/data/download/{dataset}/{split}.log",
    benchmark:
        "logs/data/download/{dataset}/{split}.benchmark.jsonl"
    conda:
        JOBS.environment("data")
    threads: 1
    resources:
        mem_mb=4000,
        runtime=JOBS.data_minutes,
        network=1,
    params:
        dataset=lambda wildcards: JOBS.catalogues.datasets[
            wildcards.dataset
        ].split_entry(wildcards.split),
        code=JOBS.download_code,
    message:
        "Download {wildcards.dataset}, split {wildcards.split}"
    script:
        "../workflow/scripts/download.py"


rule tokenizer:
    input:
        rows=JOBS.tokenizer_rows,
        model=JOBS.tokenizer_model,
    output:
        folder=directory("results/data/{dataset}/{tokenizer}/tokenizer"),
    log:
        "logs/data/tokenizer/{dataset}/{tokenizer}.log",
    benchmark:
        "logs/data/tokenizer/{dataset}/{tokenizer}.benchmark.jsonl"
    conda:
        JOBS.environment("data")
    threads: 1
    resources:
        mem_mb=4000,
        runtime=15,
        network=1,
    params:
        entry=lambda wildcards: JOBS.catalogues.tokenizers[
            wildcards.tokenizer
        ].model_dump(mode="json"),
        code=code_hash("trainyard.data.tokenizers"),
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
    log:
        "logs/data/tokenize/{dataset}/{tokenizer}/{split}.log",
    benchmark:
        "logs/data/tokenize/{dataset}/{tokenizer}/{split}.benchmark.jsonl"
    conda:
        JOBS.environment("data")
    threads: 1
    resources:
        mem_mb=8000,
        runtime=JOBS.data_minutes,
    params:
        prefix=lambda wildcards: JOBS.catalogues.prefix(wildcards.tokenizer),
        code=code_hash("trainyard.data.tokenize"),
    message:
        "Tokenize {wildcards.dataset}, split {wildcards.split}, with {wildcards.tokenizer}"
    script:
        "../workflow/scripts/tokenize.py"


rule statistics:
    input:
        splits=JOBS.token_folders,
    output:
        statistics="results/data/{dataset}/{tokenizer}/statistics.json",
    log:
        "logs/data/statistics/{dataset}/{tokenizer}.log",
    benchmark:
        "logs/data/statistics/{dataset}/{tokenizer}.benchmark.jsonl"
    conda:
        JOBS.environment("data")
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        title=lambda wildcards: JOBS.catalogues.datasets[wildcards.dataset].title,
        licence=lambda wildcards: JOBS.catalogues.datasets[wildcards.dataset].licence,
        code=code_hash("trainyard.data.statistics"),
    message:
        "Count rows, words and tokens of {wildcards.dataset} with {wildcards.tokenizer}"
    script:
        "../workflow/scripts/statistics.py"


rule duplicates:
    input:
        training="results/data/{training}/rows/train.parquet",
        held_out="results/data/{dataset}/rows/{split}.parquet",
    output:
        counts="results/data/{training}/rows/duplicates/{dataset}-{split}.json",
    log:
        "logs/data/duplicates/{training}/{dataset}-{split}.log",
    benchmark:
        "logs/data/duplicates/{training}/{dataset}-{split}.benchmark.jsonl"
    conda:
        JOBS.environment("data")
    threads: 1
    resources:
        mem_mb=4000,
        runtime=JOBS.evaluations.contamination_minutes,
    params:
        code=code_hash("trainyard.data.duplicates"),
    message:
        "Look for rows of {wildcards.dataset}, split {wildcards.split}, in the training rows of {wildcards.training}"
    script:
        "../workflow/scripts/duplicates.py"


rule fetch_model:
    output:
        folder=directory("results/models/{model}"),
    log:
        "logs/models/{model}.log",
    benchmark:
        "logs/models/{model}.benchmark.jsonl"
    conda:
        JOBS.environment("train")
    threads: 1
    resources:
        mem_mb=16000,
        runtime=60,
        network=1,
    params:
        model=lambda wildcards: JOBS.catalogues.models[wildcards.model].model_dump(
            mode="json"
        ),
        code=JOBS.fetch_code,
    message:
        "Fetch the pretrained {wildcards.model}"
    script:
        "../workflow/scripts/fetch_model.py"
