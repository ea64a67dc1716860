# Reference and predictions -> scores -> the report.

ROWS = {
    "model": f"--prediction {OUT}/prediction",
    "h0": "--baseline h0",
    "zero": "--baseline zero",
}


rule score:
    input:
        dataset=f"{OUT}/dataset",
        split=f"{OUT}/split.json",
        prediction=lambda wildcards: (
            f"{OUT}/prediction" if wildcards.row == "model" else []
        ),
    output:
        f"{OUT}/scores/{{row}}.json",
    log:
        f"{OUT}/logs/score/{{row}}.log",
    params:
        stage_version=1,
        protocol=cfg.benchmark.protocol,
        subset=cfg.benchmark.subset,
        what=lambda wildcards: ROWS[wildcards.row],
    shell:
        "nextham-bench score --reference {input.dataset} {params.what} --protocol {params.protocol}"
        " --split {input.split} --subset {params.subset} -o {output} 2>&1 | tee {log}"


rule report_page:
    input:
        scores=expand(f"{OUT}/scores/{{row}}.json", row=ROWS),
        dataset=f"{OUT}/dataset",
        prediction=f"{OUT}/prediction",
    output:
        html=report(
            f"{OUT}/report/index.html",
            caption="../report/scores.rst",
            category="Benchmark",
        ),
        scores=f"{OUT}/report/scores.json",
    log:
        f"{OUT}/logs/report.log",
    params:
        stage_version=1,
    shell:
        "nextham-bench report {input.scores} --reference {input.dataset} --prediction {input.prediction}"
        " -o {output.html} 2>&1 | tee {log}"
        " && cp {input.scores[0]} {output.scores}"
