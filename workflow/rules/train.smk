# A training rule submits with submitit and waits, so it runs where Snakemake runs.
rule train:
    input:
        plan=f"{RESULTS}/dense/plan.json",
        stats=f"{PREPARED}/stats.json",
        shards=f"{PREPARED}/shards",
        index=f"{PREPARED}/index.parquet",
    output:
        model=f"{RESULTS}/{{variant}}/seed-{{seed}}/model.json",
        weights=f"{RESULTS}/{{variant}}/seed-{{seed}}/weights.safetensors",
        history=f"{RESULTS}/{{variant}}/seed-{{seed}}/history.jsonl",
        job=f"{RESULTS}/{{variant}}/seed-{{seed}}/job.json",
    log:
        f"{LOGS}/train/{{variant}}-seed-{{seed}}.log",
    benchmark:
        f"{BENCHMARKS}/train/{{variant}}-seed-{{seed}}.tsv"
    wildcard_constraints:
        variant=names_of("train"),
    priority: comes_first
    localrule: True
    conda:
        "../../environment.yml"
    threads: training_threads
    params:
        experiment=EXPERIMENT.experiment,
        model=dumped(EXPERIMENT.model),
        recipe=recipe_of("dense"),
        cluster=dumped(CLUSTER),
        code=code_of("train"),
    script:
        "../../scripts/train.py"
