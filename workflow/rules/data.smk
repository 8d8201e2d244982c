# What decides which images there are and how they are split, and not what is done with them.
SOURCE_KEYS = EXPERIMENT.dataset.model_dump(mode="json", include={"name", "path", "test", "split_seed"})


# A published dataset is fetched where Snakemake runs: nodes of a cluster seldom have a network.
rule download:
    output:
        raw=directory(f"{DATA}/raw"),
        manifest=f"{DATA}/download.json",
    log:
        f"{DATA}/logs/download.log",
    benchmark:
        f"{DATA}/benchmarks/download.tsv"
    localrule: EXPERIMENT.dataset.name != FOLDER
    conda:
        "../../environment.yml"
    threads: 4
    resources:
        mem_mb=1000,
        runtime=120,
    params:
        dataset=SOURCE_KEYS,
        source=SOURCE,
        code=code_of("download"),
    script:
        "../../scripts/download.py"


rule audit:
    input:
        raw=f"{DATA}/raw",
        manifest=f"{DATA}/download.json",
    output:
        report=f"{DATA}/audit.json",
        table=f"{DATA}/audit.parquet",
    log:
        f"{DATA}/logs/audit.log",
    benchmark:
        f"{DATA}/benchmarks/audit.tsv"
    conda:
        "../../environment.yml"
    threads: 4
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        dataset=SOURCE_KEYS,
        code=code_of("audit"),
    script:
        "../../scripts/audit.py"


rule preprocess:
    input:
        raw=f"{DATA}/raw",
        report=f"{DATA}/audit.json",
        table=f"{DATA}/audit.parquet",
    output:
        shards=directory(f"{PREPARED}/shards"),
        labels=f"{PREPARED}/labels.npy",
        index=f"{PREPARED}/index.parquet",
        stats=f"{PREPARED}/stats.json",
    log:
        f"{PREPARED}/logs/preprocess.log",
    benchmark:
        f"{PREPARED}/benchmarks/preprocess.tsv"
    conda:
        "../../environment.yml"
    threads: 4
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        dataset=dumped(EXPERIMENT.dataset),
        code=code_of("preprocess"),
    script:
        "../../scripts/preprocess.py"
