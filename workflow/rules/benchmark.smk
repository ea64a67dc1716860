# Reference and predictions -> scores -> the report.

ROWS = {
    "model": [
        "--prediction",
        f"{OUT}/prediction",
        "--name",
        f"NextHAM, {cfg.model.preset}",
    ],
    "h0": ["--baseline", "h0"],
    "zero": ["--baseline", "zero"],
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
        "nextham-bench score --reference {input.dataset:q} {params.what:q} --protocol {params.protocol:q}"
        " --split {input.split:q} --subset {params.subset:q} -o {output:q} 2>&1 | tee {log:q}"


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
        "nextham-bench report {input.scores:q} --reference {input.dataset:q} --prediction {input.prediction:q}"
        " -o {output.html:q} 2>&1 | tee {log:q}"
        " && cp {input.scores[0]:q} {output.scores:q}"
