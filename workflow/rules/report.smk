rule report:
    input:
        unpack(outcome_of_search),
        metrics=f"{RESULTS}/metrics.json",
        plan=f"{RESULTS}/plan.json",
        stats=f"{PREPARED}/stats.json",
        audit=f"{DATA}/audit.json",
        manifest=f"{DATA}/download.json",
        histories=of_compared("history.jsonl", trained=True),
        jobs=of_compared("job.json", trained=True),
        predictions=of_compared("predictions.parquet"),
        latency=of_compared("latency.json"),
        exports=of_compared("export.json"),
        proofs=of_compared("proof.json"),
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
        config=EXPERIMENT.resolved(),
        code=code_of("report"),
    script:
        "../../scripts/report.py"
