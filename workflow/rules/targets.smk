# Every variant is a target of its own: `snakemake --cores 4 int8` makes and measures that one for all seeds.
for variant in EXPERIMENT.compared_names:

    rule:
        name:
            variant
        input:
            per_run("predictions.parquet", [(variant, seed) for seed in SEEDS]),
            per_run("latency.json", [(variant, seed) for seed in SEEDS]),
        localrule: True
