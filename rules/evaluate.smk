# Perplexity, HellaSwag and ROUGE of every model, and the shortcuts that a model must beat.
def evaluated(wildcards):
    return PLAN.studies[wildcards.study].by_evaluation[wildcards.run, wildcards.evaluation, wildcards.checkpoint]


def evaluation_specification(wildcards):
    model, evaluation = evaluated(wildcards)
    settings = {**evaluation.settings, "device": PLAN.machine.device}
    if evaluation.metric == "rouge":
        settings |= {"prefix": model.prefix, "source_length": model.source_length}
    return {
        "metric": evaluation.metric,
        "dataset": evaluation.dataset,
        "split": evaluation.split,
        "settings": settings,
    }


rule evaluate:
    input:
        models=lambda wildcards: evaluated(wildcards)[0].folder,
        rows=lambda wildcards: "results/data/{0.dataset}/rows/{0.split}.parquet".format(evaluated(wildcards)[1]),
    output:
        result="results/{study}/{run}/evaluate/{evaluation}@{checkpoint}.json",
        scored="results/{study}/{run}/evaluate/{evaluation}@{checkpoint}.parquet",
    params:
        specification=evaluation_specification,
        code=lambda wildcards: code_hash(
            f"trainyard.evaluate.{evaluated(wildcards)[1].metric}",
            f"trainyard.evaluate.modules.{evaluated(wildcards)[1].metric}.{evaluated(wildcards)[1].metric}",
        ),
    log:
        "logs/{study}/evaluate/{run}/{evaluation}@{checkpoint}.log",
    benchmark:
        "logs/{study}/evaluate/{run}/{evaluation}@{checkpoint}.benchmark.jsonl"
    conda:
        environment("evaluate")
    threads: 2
    resources:
        mem_mb=lambda wildcards: 4000 + 12 * CATALOGUES.parameters(evaluated(wildcards)[0].model) // 1_000_000,
        runtime=120,
        gres="gpu:1" if CUDA else "",
    message:
        "Evaluate {wildcards.evaluation} of {wildcards.run}, {wildcards.checkpoint}"
    script:
        "../workflow/scripts/evaluate.py"


def training_text(wildcards):
    """The text that the study's models were trained on, for shortcuts that count words."""
    datasets = {run.specification["dataset"] for run in PLAN.studies[wildcards.study].trainings}
    texts = sorted(name for name in datasets if CATALOGUES.datasets[name].kind == "text")
    return f"results/data/{texts[0]}/rows/train.parquet" if texts else []


rule shortcuts:
    input:
        choices="results/data/{dataset}/rows/validation.parquet",
        corpus=training_text,
    output:
        shortcuts="results/{study}/shortcuts/{dataset}.json",
    params:
        code=code_hash("trainyard.evaluate.shortcuts"),
    log:
        "logs/{study}/shortcuts/{dataset}.log",
    benchmark:
        "logs/{study}/shortcuts/{dataset}.benchmark.jsonl"
    conda:
        environment("evaluate")
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    message:
        "Score the shortcuts on {wildcards.dataset}"
    script:
        "../workflow/scripts/shortcuts.py"
