# The target search: rounds of trials at the first seed, each a checkpoint, since what it leaves decides what comes next.
# What depends on a checkpoint is an input here and never a param: a script reads the file that says it.
SEARCH = f"{RESULTS}/search"
SEARCH_SEED = SEEDS[0]


def rounds_of_search():
    """Epochs of a trial in each round."""
    return read_json(Path(checkpoints.search_plan.get().output[0]))["rounds"]


def round_before(wildcards):
    """Input function: what the round before a round has found; nothing for the first."""
    number = int(wildcards.number)
    return {"before": f"{SEARCH}/round-{number - 1}.json"} if number else {}


def of_round(file, trained=False):
    """Input function: the file of that name of every trial of a round, or of those that are trained."""

    def files(wildcards):
        number = int(wildcards.number)
        rounds = rounds_of_search()
        before = read_json(Path(checkpoints.search_round.get(number=number - 1).output[0])) if number else None
        trials = trials_of_round(EXPERIMENT.compress, rounds, number, before)
        names = [trial.variant for trial in trials if not trained or EXPERIMENT.trains(trial.variant)]
        return per_run(file, [(name, SEARCH_SEED) for name in names])

    return files


rule validate:
    input:
        onnx=f"{RUN}/model.onnx",
        proof=f"{RUN}/proof.json",
        stats=f"{PREPARED}/stats.json",
        shards=f"{PREPARED}/shards",
        index=f"{PREPARED}/index.parquet",
    output:
        f"{RUN}/validation.parquet",
    log:
        f"{LOGS}/validate/{{variant}}-seed-{{seed}}.log",
    benchmark:
        f"{BENCHMARKS}/validate/{{variant}}-seed-{{seed}}.tsv"
    priority: comes_first
    conda:
        "../../environment.yml"
    resources:
        mem_mb=memory_for(COPIES_TO_OPEN, 2000, "onnx"),
        runtime=60,
    params:
        split="validation",
        batch_size=prediction_batch(),
        code=code_of("predict"),
    script:
        "../../scripts/predict.py"


# A trial would wait long for all cores, and the search with it. It needs no more than ratios to choose by, and those
# hold beside other work, since they are taken in turns; what is chosen is timed alone.
use rule latency as time_trial with:
    output:
        f"{RUN}/trial_latency.json",
    log:
        f"{LOGS}/time_trial/{{variant}}-seed-{{seed}}.log",
    benchmark:
        f"{BENCHMARKS}/time_trial/{{variant}}-seed-{{seed}}.tsv"
    priority: comes_first
    threads: EXPERIMENT.evaluation.latency.threads
    params:
        alone=False,


# Forecasts are of the plan, brought to what the dense model of the same seed really took.
checkpoint search_plan:
    input:
        plans=[
            f"{RESULTS}/{structure.trial(EXPERIMENT.compress.round_epochs[0])}/plan.json"
            for structure in EXPERIMENT.compress.structures
        ],
        dense_plan=f"{RESULTS}/dense/plan.json",
        dense_job=f"{RESULTS}/dense/seed-{SEARCH_SEED}/job.json",
    output:
        f"{SEARCH}/plan.json",
    log:
        f"{LOGS}/search_plan.log",
    benchmark:
        f"{BENCHMARKS}/search_plan.tsv"
    priority: SEARCH_PRIORITY
    localrule: True
    conda:
        "../../environment.yml"
    params:
        compress=dumped(EXPERIMENT.compress),
        code=code_of("search_plan"),
    script:
        "../../scripts/search_plan.py"


checkpoint search_round:
    input:
        unpack(round_before),
        plan=f"{SEARCH}/plan.json",
        validation=of_round("validation.parquet"),
        latency=of_round("trial_latency.json"),
        exports=of_round("export.json"),
        proofs=of_round("proof.json"),
        jobs=of_round("job.json", trained=True),
        dense_validation=f"{RESULTS}/dense/seed-{SEARCH_SEED}/validation.parquet",
        dense_export=f"{RESULTS}/dense/seed-{SEARCH_SEED}/export.json",
    output:
        f"{SEARCH}/round-{{number}}.json",
    log:
        f"{LOGS}/search_round/{{number}}.log",
    benchmark:
        f"{BENCHMARKS}/search_round/{{number}}.tsv"
    wildcard_constraints:
        number=r"\d+",
    priority: SEARCH_PRIORITY
    localrule: True
    conda:
        "../../environment.yml"
    params:
        compress=dumped(EXPERIMENT.compress),
        code=code_of("search_round"),
    script:
        "../../scripts/search_round.py"


checkpoint search:
    input:
        rounds=lambda wildcards: [f"{SEARCH}/round-{number}.json" for number in range(len(rounds_of_search()))],
        plan=f"{SEARCH}/plan.json",
    output:
        f"{RESULTS}/search.json",
    log:
        f"{LOGS}/search.log",
    benchmark:
        f"{BENCHMARKS}/search.tsv"
    priority: SEARCH_PRIORITY
    localrule: True
    conda:
        "../../environment.yml"
    params:
        compress=dumped(EXPERIMENT.compress),
        seed=SEARCH_SEED,
        code=code_of("search"),
    script:
        "../../scripts/search.py"
