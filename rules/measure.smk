# Probes against their references; peaks, speed and memory, alone on the machine.
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
rule peak:
    output:
        peak="results/peaks/{device}_{precision}_threads{threads}.json",
    log:
        "logs/peaks/{device}_{precision}_threads{threads}.log",
    benchmark:
        "logs/peaks/{device}_{precision}_threads{threads}.benchmark.jsonl"
    wildcard_constraints:
        device="cpu|cuda",
        precision="fp32|bf16|fp16",
        threads="[0-9]+",
    priority: 2
    conda:
        JOBS.environment("train")
    threads: (lambda wildcards: int(wildcards.threads)) if ON_CLUSTER else every_core()
    resources:
        mem_mb=4000,
        runtime=10,
        slurm_extra="--exclusive",
        gres="gpu:1" if ON_GPUS else "",
        slots=1 if ON_GPUS else 0,
    params:
        specification=lambda wildcards: {
            "device": wildcards.device,
            "precision": wildcards.precision,
            "threads": int(wildcards.threads),
        },
        code=code_hash("trainyard.measure.peak", "trainyard.measure.peak_worker"),
    message:
        "Find the peak of a {wildcards.device} in {wildcards.precision}, {wildcards.threads} threads"
    script:
        "../workflow/scripts/peak.py"


# one launch; the cells take turns
rule measure:
    output:
        measured="results/{study}/measure/{cell}/launch{launch}.json",
    log:
        "logs/{study}/measure/{cell}/launch{launch}.log",
    benchmark:
        "logs/{study}/measure/{cell}/launch{launch}.benchmark.jsonl"
    wildcard_constraints:
        launch="[0-9]+",
    priority: JOBS.turn
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
        "Measure {wildcards.cell} of {wildcards.study}, alone on the machine, launch {wildcards.launch}"
    script:
        "../workflow/scripts/measure.py"


rule combine:
    input:
        launches=JOBS.launches,
        peak=JOBS.peak,
    output:
        measured="results/{study}/measure/{cell}.json",
    log:
        "logs/{study}/measure/{cell}.log",
    benchmark:
        "logs/{study}/measure/{cell}.benchmark.jsonl"
    conda:
        JOBS.environment("report")
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        code=code_hash("trainyard.measure.combine"),
    message:
        "Combine the launches of {wildcards.cell} of {wildcards.study}"
    script:
        "../workflow/scripts/combine.py"
