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
        stage_version=2,
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


rule dataset_page:
    input:
        f"{OUT}/dataset",
    output:
        html=report(
            f"{OUT}/report/dataset.html",
            caption="../report/dataset.rst",
            category="Dataset",
        ),
        facts=f"{OUT}/report/dataset.json",
        rows=f"{OUT}/report/dataset.csv",
    log:
        f"{OUT}/logs/dataset_page.log",
    threads: 2
    params:
        stage_version=1,
    shell:
        "nextham-bench dataset {input:q} --jobs {threads} -o {output.html:q} 2>&1 | tee {log:q}"


# --- the leaderboard: a card and a score make an entry, entries make the page

CARDS = f"{workflow.basedir}/benchmark/models"


rule entry:
    input:
        card=lambda wildcards: (
            cfg.benchmark.card or f"{CARDS}/nextham-{cfg.model.preset}.yml"
            if wildcards.row == "model"
            else f"{CARDS}/{wildcards.row}.yml"
        ),
        scores=f"{OUT}/scores/{{row}}.json",
        checkpoint=lambda wildcards: f"{OUT}/model" if wildcards.row == "model" else [],
    output:
        directory(f"{OUT}/entries/{{row}}"),
    log:
        f"{OUT}/logs/entries/{{row}}.log",
    params:
        stage_version=1,
        made=lambda wildcards, input: (
            ["--checkpoint", input.checkpoint] if input.checkpoint else []
        ),
    shell:
        "nextham-bench leaderboard add {input.card:q} --scores {input.scores:q} {params.made:q} --board {output:q}"
        " 2>&1 | tee {log:q}"


rule leaderboard:
    input:
        entries=expand(f"{OUT}/entries/{{row}}", row=ROWS),
        dataset=f"{OUT}/dataset",
        prediction=f"{OUT}/prediction",
    output:
        html=report(
            f"{OUT}/leaderboard/index.html",
            caption="../report/leaderboard.rst",
            category="Benchmark",
        ),
        tables=expand(
            f"{OUT}/leaderboard/leaderboard.{{kind}}", kind=["md", "csv", "json"]
        ),
    log:
        f"{OUT}/logs/leaderboard.log",
    params:
        stage_version=1,
        boards=lambda wildcards, input: [f"--board={entry}" for entry in input.entries],
        predictions=lambda wildcards, input: [f"--prediction={input.prediction}"],
        folder=f"{OUT}/leaderboard",
    shell:
        "nextham-bench leaderboard render {params.boards:q} --reference {input.dataset:q} {params.predictions:q}"
        " -o {params.folder:q} 2>&1 | tee {log:q}"


rule benchmark:
    input:
        f"{OUT}/leaderboard/index.html",
        f"{OUT}/report/index.html",
