rule report:
    input:
        metrics=f"{RESULTS}/metrics.json",
        plan=f"{RESULTS}/plan.json",
        stats=f"{PREPARED}/stats.json",
        audit=f"{DATA}/audit.json",
        manifest=f"{DATA}/download.json",
        histories=per_run("history.jsonl", TRAINING_PAIRS),
        jobs=per_run("job.json", TRAINING_PAIRS),
        predictions=per_run("predictions.parquet", PAIRS),
        latency=per_run("latency.json", PAIRS),
        exports=per_run("export.json", PAIRS),
        proofs=per_run("proof.json", PAIRS),
    output:
        report(
            REPORT,
            caption="../report/report.rst",
            category="Verdict",
        ),
    log:
        f"{LOGS}/report.log",
    benchmark:
        f"{BENCHMARKS}/report.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        pairs=PAIRS,
        training_pairs=TRAINING_PAIRS,
        code=code_of("report"),
    script:
        "../../scripts/report.py"
