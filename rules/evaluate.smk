# Perplexity, HellaSwag and ROUGE of every model, the shortcuts that a model must beat, and what training text gave away.
rule evaluate:
    input:
        models=JOBS.evaluations.model,
        rows=JOBS.evaluations.rows,
        shots=JOBS.evaluations.shots_rows,
    output:
        result="results/{study}/{run}/evaluate/{evaluation}@{checkpoint}.json",
        scored="results/{study}/{run}/evaluate/{evaluation}@{checkpoint}.parquet",
    log:
        "logs/{study}/evaluate/{run}/{evaluation}@{checkpoint}.log",
    benchmark:
        "logs/{study}/evaluate/{run}/{evaluation}@{checkpoint}.benchmark.jsonl"
    conda:
        JOBS.environment("evaluate")
    threads: JOBS.evaluations.threads
    resources:
        mem_mb=JOBS.evaluations.memory,
        runtime=JOBS.evaluations.minutes,
        gres=JOBS.evaluations.gres if ON_GPUS else "",
        slots=JOBS.evaluations.processes if ON_GPUS else 0,
    params:
        specification=JOBS.evaluations.specification,
        code=JOBS.evaluations.code,
    message:
        "Evaluate {wildcards.evaluation} of {wildcards.run}, {wildcards.checkpoint}"
    script:
        "../workflow/scripts/evaluate.py"


rule shortcuts:
    input:
        choices=JOBS.evaluations.choice_rows,
        corpus=JOBS.evaluations.training_text,
    output:
        shortcuts="results/{study}/shortcuts/{dataset}.json",
        points="results/{study}/shortcuts/{dataset}.parquet",
    log:
        "logs/{study}/shortcuts/{dataset}.log",
    benchmark:
        "logs/{study}/shortcuts/{dataset}.benchmark.jsonl"
    conda:
        JOBS.environment("evaluate")
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        scored=JOBS.evaluations.shortcut_items,
        code=code_hash("trainyard.evaluate.shortcuts"),
    message:
        "Score the shortcuts on {wildcards.dataset}"
    script:
        "../workflow/scripts/shortcuts.py"


rule contamination:
    input:
        training="results/data/{training}/rows/train.parquet",
        evaluated="results/data/{dataset}/rows/{split}.parquet",
    output:
        overlap="results/{study}/contamination/{training}/{dataset}-{split}.json",
        affected="results/{study}/contamination/{training}/{dataset}-{split}.parquet",
    log:
        "logs/{study}/contamination/{training}/{dataset}-{split}.log",
    benchmark:
        "logs/{study}/contamination/{training}/{dataset}-{split}.benchmark.jsonl"
    conda:
        JOBS.environment("evaluate")
    threads: JOBS.evaluations.contamination_threads
    resources:
        mem_mb=8000,
        runtime=JOBS.evaluations.contamination_minutes,
    params:
        ngram=JOBS.evaluations.ngram,
        code=code_hash("trainyard.evaluate.contamination"),
    message:
        "Look for {wildcards.dataset}, split {wildcards.split}, in the text of {wildcards.training}"
    script:
        "../workflow/scripts/contamination.py"
