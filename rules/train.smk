# Every run, and the probes, which are short runs without models.
def stage_environment(run):
    """Frameworks have an environment of their own; torch's own engines share one."""
    engine = run.specification["parallel"]["engine"]
    return "deepspeed" if engine == "deepspeed" else "train"


def capabilities(run):
    setting = CATALOGUES.parallel[run.entry]
    return PLAN.machine.capabilities(
        setting, run.specification["train"]["compile"], conda_pins(stage_environment(run))
    )


def why_unsupported(run):
    at = run.specification
    return unsupported(CATALOGUES.parallel[run.entry], at["precision"], at["processes"], capabilities(run))


def train_code(run):
    engine = run.specification["parallel"]["engine"]
    family = run.specification["model"]["family"]
    return code_hash(
        "trainyard.train.run", "trainyard.train.main", f"trainyard.parallel.{engine}", f"trainyard.models.{family}"
    )


def folders(run):
    return [folder for folder in run.specification["data"].values() if folder]


def memory(of):
    """Megabytes for a run or a cell."""
    return megabytes(CATALOGUES.parameters(of.specification["model"]["name"]), of.specification["processes"])


rule train:
    input:
        folders=lambda wildcards: folders(run_of(wildcards)),
    output:
        specification="results/{study}/{run}/spec.json",
        metrics="results/{study}/{run}/metrics.jsonl",
        summary="results/{study}/{run}/summary.json",
        provenance="results/{study}/{run}/provenance.json",
        models=directory("results/{study}/{run}/models"),
    params:
        specification=lambda wildcards: run_of(wildcards).specification,
        capabilities=lambda wildcards: capabilities(run_of(wildcards)),
        unsupported=lambda wildcards: why_unsupported(run_of(wildcards)),
        code=lambda wildcards: train_code(run_of(wildcards)),
    log:
        "logs/{study}/train/{run}.log",
    benchmark:
        "logs/{study}/train/{run}.benchmark.jsonl"
    wildcard_constraints:
        run="(?!probe_)[^/@]+",
    conda:
        lambda wildcards: environment(stage_environment(run_of(wildcards)))
    threads: lambda wildcards: run_of(wildcards).threads
    resources:
        mem_mb=lambda wildcards: memory(run_of(wildcards)),
        runtime=lambda wildcards: minutes(run_of(wildcards), CATALOGUES),
        gres=lambda wildcards: f"gpu:{run_of(wildcards).specification['processes']}" if CUDA else "",
    message:
        "Train {wildcards.run} of {wildcards.study}"
    script:
        "../workflow/scripts/train.py"


use rule train as probe with:
    output:
        specification="results/{study}/{run}/spec.json",
        metrics="results/{study}/{run}/metrics.jsonl",
        summary="results/{study}/{run}/summary.json",
        provenance="results/{study}/{run}/provenance.json",
    wildcard_constraints:
        run="probe_[^/@]+",
    message:
        "Probe {wildcards.run} of {wildcards.study}"
