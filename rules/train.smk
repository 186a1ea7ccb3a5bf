# Every run, and the probes, which are short runs without models.
rule train:
    input:
        folders=JOBS.data_folders,
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
    output:
        specification="results/{study}/{run}/spec.json",
        metrics="results/{study}/{run}/metrics.jsonl",
        summary="results/{study}/{run}/summary.json",
        provenance="results/{study}/{run}/provenance.json",
    wildcard_constraints:
        run="probe_[^/@]+",
    message:
        "Probe {wildcards.run} of {wildcards.study}"
