rule plan_variant:
    input:
        stats=f"{PREPARED}/stats.json",
        labels=f"{PREPARED}/labels.npy",
    output:
        f"{RESULTS}/{{variant}}/plan.json",
    log:
        f"{LOGS}/plan/{{variant}}.log",
    benchmark:
        f"{BENCHMARKS}/plan/{{variant}}.tsv"
    wildcard_constraints:
        variant=one_of(TRAINED),
    priority: PLAN_PRIORITY
    conda:
        "../../environment.yml"
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        step=lambda wildcards: EXPERIMENT.step(wildcards.variant),
        model=lambda wildcards: dumped(EXPERIMENT.model_of(wildcards.variant)),
        teacher=lambda wildcards: teacher_plan(wildcards.variant),
        prune=lambda wildcards: step_of(wildcards) if EXPERIMENT.step(wildcards.variant) == "prune" else None,
        recipe=lambda wildcards: recipe_of(wildcards.variant),
        cluster=dumped(CLUSTER),
        code=code_of("plan_variant"),
    script:
        "../../scripts/plan_variant.py"


rule plan:
    input:
        [f"{RESULTS}/{variant}/plan.json" for variant in EXPERIMENT.compared_names if EXPERIMENT.trains(variant)],
    output:
        f"{RESULTS}/plan.json",
    log:
        f"{LOGS}/plan.log",
    benchmark:
        f"{BENCHMARKS}/plan.tsv"
    priority: PLAN_PRIORITY
    conda:
        "../../environment.yml"
    params:
        experiment=EXPERIMENT.experiment,
        cluster=dumped(CLUSTER),
        seeds=SEEDS,
        code=code_of("plan"),
    script:
        "../../scripts/plan.py"
