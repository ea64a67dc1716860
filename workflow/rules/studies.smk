# Studies: trainings that differ in one thing, scored on the same subset -> one table, for the curve with a plot.


rule shorter_split:
    input:
        dataset=f"{OUT}/dataset",
        split=f"{OUT}/split.json",
    output:
        f"{OUT}/learning_curve/{{variant}}/split.json",
    log:
        f"{OUT}/logs/learning_curve/{{variant}}/split.log",
    params:
        stage_version=1,
        settings=cfg.section("split"),
    shell:
        "nextham split {input.dataset:q} --shorten {input.split:q} --size {wildcards.variant} -o {output:q}"
        " --settings {params.settings:q} 2>&1 | tee {log:q}"


use rule train as study_train with:
    input:
        dataset=f"{OUT}/dataset",
        split=lambda wildcards: (
            f"{OUT}/learning_curve/{wildcards.variant}/split.json"
            if wildcards.study == "learning_curve"
            else f"{OUT}/split.json"
        ),
    output:
        directory(f"{OUT}/{{study}}/{{variant}}/model"),
    log:
        f"{OUT}/logs/{{study}}/{{variant}}/train.log",
    benchmark:
        f"{OUT}/logs/{{study}}/{{variant}}/train.tsv"
    params:
        stage_version=1,
        settings=lambda wildcards: STUDIES[wildcards.study][
            wildcards.variant
        ].model_dump_json(exclude_unset=True),
        folder=lambda wildcards: f"{OUT}/{wildcards.study}/{wildcards.variant}/training",
        launch=lambda wildcards: cfg.launch.train,


use rule predict as study_predict with:
    input:
        dataset=f"{OUT}/dataset",
        split=f"{OUT}/split.json",
        model=f"{OUT}/{{study}}/{{variant}}/model",
    output:
        directory(f"{OUT}/{{study}}/{{variant}}/prediction"),
    log:
        f"{OUT}/logs/{{study}}/{{variant}}/predict.log",


use rule score as study_score with:
    input:
        dataset=f"{OUT}/dataset",
        split=f"{OUT}/split.json",
        prediction=f"{OUT}/{{study}}/{{variant}}/prediction",
    output:
        f"{OUT}/{{study}}/{{variant}}/scores.json",
    log:
        f"{OUT}/logs/{{study}}/{{variant}}/score.log",
    params:
        stage_version=2,
        protocol=cfg.benchmark.protocol,
        subset=cfg.benchmark.subset,
        what=lambda wildcards, input: [
            "--prediction",
            input.prediction,
            "--name",
            wildcards.variant,
        ],


rule compare:
    input:
        lambda wildcards: expand(
            f"{OUT}/{{study}}/{{variant}}/scores.json",
            study=wildcards.study,
            variant=STUDIES[wildcards.study],
        ),
        f"{OUT}/scores/h0.json",
    output:
        html=report(
            f"{OUT}/{{study}}/index.html",
            caption="../report/study.rst",
            category="Studies",
        ),
        table=f"{OUT}/{{study}}/table.md",
        numbers=f"{OUT}/{{study}}/table.json",
    log:
        f"{OUT}/logs/{{study}}/compare.log",
    params:
        stage_version=1,
        title=lambda wildcards: wildcards.study.replace("_", " ").capitalize(),
        along=lambda wildcards: (
            ["--along", "training structures"]
            if wildcards.study == "learning_curve"
            else []
        ),
    shell:
        "nextham-bench compare {input:q} --title {params.title:q} {params.along:q} -o {output.html:q} 2>&1 | tee {log:q}"


use rule entry as study_entry with:
    input:
        card=lambda wildcards: f"{CARDS}/ablation-{wildcards.variant}.yml",
        scores=f"{OUT}/{{study}}/{{variant}}/scores.json",
        checkpoint=f"{OUT}/{{study}}/{{variant}}/model",
    output:
        directory(f"{OUT}/{{study}}/{{variant}}/entry"),
    log:
        f"{OUT}/logs/{{study}}/{{variant}}/entry.log",


use rule leaderboard as ablation_leaderboard with:
    input:
        entries=[
            *expand(
                f"{OUT}/ablations/{{variant}}/entry", variant=STUDIES["ablations"]
            ),
            *expand(f"{OUT}/entries/{{row}}", row=["h0", "zero"]),
        ],
        dataset=f"{OUT}/dataset",
        prediction=[],
    output:
        html=report(
            f"{OUT}/ablations/leaderboard/index.html",
            caption="../report/leaderboard.rst",
            category="Studies",
        ),
        tables=expand(
            f"{OUT}/ablations/leaderboard/leaderboard.{{kind}}",
            kind=["md", "csv", "json"],
        ),
    log:
        f"{OUT}/logs/ablations/leaderboard.log",
    params:
        stage_version=1,
        boards=lambda wildcards, input: [f"--board={entry}" for entry in input.entries],
        predictions=[],
        folder=f"{OUT}/ablations/leaderboard",


rule ablations:
    input:
        f"{OUT}/ablations/index.html",
        f"{OUT}/ablations/leaderboard/index.html",


rule learning_curve:
    input:
        f"{OUT}/learning_curve/index.html",
