# Probes against their references; speed and memory, alone on the machine.
rule parity:
    input:
        probe="results/{study}/{run}/metrics.jsonl",
        probe_summary="results/{study}/{run}/summary.json",
        reference=lambda wildcards: f"{JOBS.reference(wildcards)}/metrics.jsonl",
        reference_summary=lambda wildcards: f"{JOBS.reference(wildcards)}/summary.json",
        same_precision=lambda wildcards: JOBS.same_precision(wildcards, "metrics.jsonl"),
        same_precision_summary=lambda wildcards: JOBS.same_precision(
            wildcards, "summary.json"
        ),
    output:
        parity="results/{study}/{run}/parity.json",
    log:
        "logs/{study}/parity/{run}.log",
    benchmark:
        "logs/{study}/parity/{run}.benchmark.jsonl"
    wildcard_constraints:
        run="probe_[^/@]+",
    conda:
        JOBS.environment("train")
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        code=code_hash("trainyard.measure.parity"),
    message:
        "Compare {wildcards.run} with its references"
    script:
        "../workflow/scripts/parity.py"


# every core of this machine is taken, or a whole node of a cluster, so that no other job disturbs the figures
rule measure:
    output:
        measured="results/{study}/measure/{cell}.json",
    log:
        "logs/{study}/measure/{cell}.log",
    benchmark:
        "logs/{study}/measure/{cell}.benchmark.jsonl"
    conda:
        JOBS.framework_environment
    threads: JOBS.threads if ON_CLUSTER else every_core()
    resources:
        mem_mb=JOBS.memory,
        runtime=30,
        slurm_extra="--exclusive",
        gres=GRES,
        slots=SLOTS,
        nodes=NODES,
        tasks=NODES,
        mpi=MPI,
    params:
        specification=JOBS.specification,
        capabilities=JOBS.capabilities,
        failures=JOBS.failures,
        unsupported=JOBS.unsupported,
        code=JOBS.measure_code,
    message:
        "Measure {wildcards.cell} of {wildcards.study}, alone on the machine"
    script:
        "../workflow/scripts/measure.py"
