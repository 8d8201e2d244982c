rule prune:
    input:
        plan=f"{RESULTS}/{{variant}}/plan.json",
        stats=f"{PREPARED}/stats.json",
        shards=f"{PREPARED}/shards",
        index=f"{PREPARED}/index.parquet",
        model=parent_file("model.json"),
        weights=parent_file("weights.safetensors"),
    output:
        model=f"{RUN}/model.json",
        weights=f"{RUN}/weights.safetensors",
        history=f"{RUN}/history.jsonl",
        job=f"{RUN}/job.json",
    log:
        f"{LOGS}/prune/{{variant}}-seed-{{seed}}.log",
    benchmark:
        f"{BENCHMARKS}/prune/{{variant}}-seed-{{seed}}.tsv"
    wildcard_constraints:
        variant=names_of("prune"),
    priority: comes_first
    localrule: True
    conda:
        "../../environment.yml"
    threads: training_threads
    params:
        experiment=EXPERIMENT.experiment,
        prune=step_of,
        recipe=lambda wildcards: recipe_of(wildcards.variant),
        cluster=dumped(CLUSTER),
        code=code_of("prune"),
    script:
        "../../scripts/prune.py"


rule distil:
    input:
        plan=f"{RESULTS}/{{variant}}/plan.json",
        stats=f"{PREPARED}/stats.json",
        shards=f"{PREPARED}/shards",
        index=f"{PREPARED}/index.parquet",
        model=parent_file("model.json"),
        weights=parent_file("weights.safetensors"),
        teachers=teacher_files,
    output:
        model=f"{RUN}/model.json",
        weights=f"{RUN}/weights.safetensors",
        history=f"{RUN}/history.jsonl",
        job=f"{RUN}/job.json",
    log:
        f"{LOGS}/distil/{{variant}}-seed-{{seed}}.log",
    benchmark:
        f"{BENCHMARKS}/distil/{{variant}}-seed-{{seed}}.tsv"
    wildcard_constraints:
        variant=names_of("distil"),
    priority: comes_first
    localrule: True
    conda:
        "../../environment.yml"
    threads: training_threads
    params:
        experiment=EXPERIMENT.experiment,
        distil=step_of,
        model=lambda wildcards: dumped(EXPERIMENT.model_of(wildcards.variant)),
        recipe=lambda wildcards: recipe_of(wildcards.variant),
        cluster=dumped(CLUSTER),
        code=code_of("distil"),
    script:
        "../../scripts/distil.py"


rule finetune:
    input:
        plan=f"{RESULTS}/{{variant}}/plan.json",
        stats=f"{PREPARED}/stats.json",
        shards=f"{PREPARED}/shards",
        index=f"{PREPARED}/index.parquet",
        model=parent_file("model.json"),
        weights=parent_file("weights.safetensors"),
    output:
        model=f"{RUN}/model.json",
        weights=f"{RUN}/weights.safetensors",
        history=f"{RUN}/history.jsonl",
        job=f"{RUN}/job.json",
    log:
        f"{LOGS}/finetune/{{variant}}-seed-{{seed}}.log",
    benchmark:
        f"{BENCHMARKS}/finetune/{{variant}}-seed-{{seed}}.tsv"
    wildcard_constraints:
        variant=names_of("finetune"),
    localrule: True
    conda:
        "../../environment.yml"
    threads: training_threads
    params:
        experiment=EXPERIMENT.experiment,
        finetune=step_of,
        recipe=lambda wildcards: recipe_of(wildcards.variant),
        cluster=dumped(CLUSTER),
        code=code_of("finetune"),
    script:
        "../../scripts/finetune.py"


rule quantize_aware:
    input:
        plan=f"{RESULTS}/{{variant}}/plan.json",
        stats=f"{PREPARED}/stats.json",
        shards=f"{PREPARED}/shards",
        index=f"{PREPARED}/index.parquet",
        model=parent_file("model.json"),
        weights=parent_file("weights.safetensors"),
    output:
        model=f"{RUN}/model.json",
        weights=f"{RUN}/weights.safetensors",
        history=f"{RUN}/history.jsonl",
        job=f"{RUN}/job.json",
    log:
        f"{LOGS}/quantize_aware/{{variant}}-seed-{{seed}}.log",
    benchmark:
        f"{BENCHMARKS}/quantize_aware/{{variant}}-seed-{{seed}}.tsv"
    wildcard_constraints:
        variant=quantization_aware(),
    localrule: True
    conda:
        "../../environment.yml"
    threads: training_threads
    params:
        experiment=EXPERIMENT.experiment,
        quantize=step_of,
        recipe=lambda wildcards: recipe_of(wildcards.variant),
        cluster=dumped(CLUSTER),
        code=code_of("quantize_aware"),
    script:
        "../../scripts/quantize_aware.py"


rule export:
    input:
        model=f"{RUN}/model.json",
        weights=f"{RUN}/weights.safetensors",
        stats=f"{PREPARED}/stats.json",
        shards=f"{PREPARED}/shards",
    output:
        onnx=f"{RUN}/model.onnx",
        report=f"{RUN}/export.json",
        reference=f"{RUN}/reference.safetensors",
    log:
        f"{LOGS}/export/{{variant}}-seed-{{seed}}.log",
    benchmark:
        f"{BENCHMARKS}/export/{{variant}}-seed-{{seed}}.tsv"
    wildcard_constraints:
        variant=names_of("train", "prune", "distil", "finetune"),
    priority: comes_first
    conda:
        "../../environment.yml"
    resources:
        mem_mb=memory_for(COPIES_TO_CONVERT, 4000, "weights"),
        runtime=30,
    params:
        code=code_of("export"),
    script:
        "../../scripts/export.py"


# What a variant that was trained to be quantized is in float: the int8 file is made of it and held against it.
use rule export as export_float with:
    output:
        onnx=f"{RUN}/float.onnx",
        report=f"{RUN}/float.json",
        reference=f"{RUN}/reference.safetensors",
    log:
        f"{LOGS}/export_float/{{variant}}-seed-{{seed}}.log",
    benchmark:
        f"{BENCHMARKS}/export_float/{{variant}}-seed-{{seed}}.tsv"
    wildcard_constraints:
        variant=quantization_aware(),


rule quantize:
    input:
        unpack(files_to_quantize),
        stats=f"{PREPARED}/stats.json",
        shards=f"{PREPARED}/shards",
    output:
        onnx=f"{RUN}/model.onnx",
        report=f"{RUN}/export.json",
    log:
        f"{LOGS}/quantize/{{variant}}-seed-{{seed}}.log",
    benchmark:
        f"{BENCHMARKS}/quantize/{{variant}}-seed-{{seed}}.tsv"
    wildcard_constraints:
        variant=names_of("quantize"),
    priority: comes_first
    conda:
        "../../environment.yml"
    resources:
        mem_mb=memory_for(COPIES_TO_CONVERT, 4000, "onnx"),
        runtime=60,
    params:
        quantize=step_of,
        code=code_of("quantize"),
    script:
        "../../scripts/quantize.py"
