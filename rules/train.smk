# Every run, and the probes, which are short runs without models.
rule train:
    input:
        folders=JOBS.data_folders,
        # one that is made again asks for no second training, and summary.json has the one that this began with
        forecast=lambda wildcards: list(map(ancient, JOBS.forecast(wildcards))),
    output:
        specification="results/{study}/{run}/spec.json",
        metrics="results/{study}/{run}/metrics.jsonl",
        summary="results/{study}/{run}/summary.json",
        validation="results/{study}/{run}/validation.parquet",
        provenance="results/{study}/{run}/provenance.json",
        models=directory("results/{study}/{run}/models"),
    log:
        "logs/{study}/train/{run}.log",
    benchmark:
        "logs/{study}/train/{run}.benchmark.jsonl"
    wildcard_constraints:
        run="(?!probe_|member_|winner_)[^/@]+",
    conda:
        JOBS.framework_environment
    threads: JOBS.threads
    resources:
        mem_mb=JOBS.memory,
        runtime=JOBS.minutes,
        gres=GRES,
        slots=SLOTS,
        nodes=NODES,
        tasks=NODES,
        mpi=MPI,
        submitted=SUBMITTED,
    params:
        specification=JOBS.specification,
        capabilities=JOBS.capabilities,
        failures=JOBS.failures,
        unsupported=JOBS.unsupported,
        code=JOBS.train_code,
    message:
        "Train {wildcards.run} of {wildcards.study}"
    script:
        "../workflow/scripts/train.py"


use rule train as probe with:
    input:
        folders=JOBS.data_folders,
    output:
        specification="results/{study}/{run}/spec.json",
        metrics="results/{study}/{run}/metrics.jsonl",
        summary="results/{study}/{run}/summary.json",
        provenance="results/{study}/{run}/provenance.json",
    wildcard_constraints:
        run="probe_[^/@]+",
    message:
        "Probe {wildcards.run} of {wildcards.study}"


rule forecast:
    input:
        summaries=JOBS.forecast_from,
    output:
        forecast="results/{study}/{run}/forecast.json",
    log:
        "logs/{study}/forecast/{run}.log",
    benchmark:
        "logs/{study}/forecast/{run}.benchmark.jsonl"
    conda:
        JOBS.environment("report")
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        target=JOBS.forecast_target,
        code=JOBS.forecast_code,
    message:
        "Forecast the loss of {wildcards.run} of {wildcards.study}"
    script:
        "../workflow/scripts/forecast.py"
