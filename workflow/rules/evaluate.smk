rule prove:
    input:
        unpack(proof_inputs),
        onnx=f"{RUN}/model.onnx",
        report=f"{RUN}/export.json",
    output:
        f"{RUN}/proof.json",
    log:
        f"{LOGS}/prove/{{variant}}-seed-{{seed}}.log",
    benchmark:
        f"{BENCHMARKS}/prove/{{variant}}-seed-{{seed}}.tsv"
    priority: comes_first
    conda:
        "../../environment.yml"
    resources:
        mem_mb=memory_for(COPIES_TO_OPEN, 4000, "onnx"),
        runtime=30,
    params:
        code=code_of("prove"),
    script:
        "../../scripts/prove.py"


# What has not been proved is not measured: figures of a file that depend on the batch mean nothing.
rule predict:
    input:
        onnx=f"{RUN}/model.onnx",
        proof=f"{RUN}/proof.json",
        stats=f"{PREPARED}/stats.json",
        shards=f"{PREPARED}/shards",
        index=f"{PREPARED}/index.parquet",
    output:
        f"{RUN}/predictions.parquet",
    log:
        f"{LOGS}/predict/{{variant}}-seed-{{seed}}.log",
    benchmark:
        f"{BENCHMARKS}/predict/{{variant}}-seed-{{seed}}.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=memory_for(COPIES_TO_OPEN, 2000, "onnx"),
        runtime=60,
    params:
        split="test",
        batch_size=prediction_batch(),
        code=code_of("predict"),
    script:
        "../../scripts/predict.py"


# All cores of the run: nothing may compute beside the stopwatch.
rule latency:
    input:
        unpack(parent_to_time),
        onnx=f"{RUN}/model.onnx",
        proof=f"{RUN}/proof.json",
        baseline=f"{RESULTS}/dense/seed-{{seed}}/model.onnx",
        stats=f"{PREPARED}/stats.json",
    output:
        f"{RUN}/latency.json",
    log:
        f"{LOGS}/latency/{{variant}}-seed-{{seed}}.log",
    benchmark:
        f"{BENCHMARKS}/latency/{{variant}}-seed-{{seed}}.tsv"
    priority: LATENCY_PRIORITY
    conda:
        "../../environment.yml"
    threads: machine_cores()
    resources:
        mem_mb=memory_for(COPIES_SIDE_BY_SIDE, 2000, "onnx", "baseline", "parent"),
        runtime=60,
    params:
        latency=dumped(EXPERIMENT.evaluation.latency),
        parent=lambda wildcards: EXPERIMENT.parent(wildcards.variant),
        dtype=quantized_to,
        alone=True,
        code=code_of("latency"),
    script:
        "../../scripts/latency.py"


rule compare:
    input:
        unpack(outcome_of_search),
        meanwhile=trained_while_searching,
        predictions=of_compared("predictions.parquet"),
        latency=of_compared("latency.json"),
        export=of_compared("export.json"),
        proof=of_compared("proof.json"),
        manifest=f"{DATA}/download.json",
        stats=f"{PREPARED}/stats.json",
    output:
        csv=METRICS_CSV,
        json=f"{RESULTS}/metrics.json",
    log:
        f"{LOGS}/compare.log",
    benchmark:
        f"{BENCHMARKS}/compare.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        config=EXPERIMENT.resolved(),
        code=code_of("compare"),
        command=COMMAND,
    script:
        "../../scripts/compare.py"
