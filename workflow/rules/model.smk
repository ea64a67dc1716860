# The dataset and its split -> a checkpoint -> predictions.


rule train:
    input:
        dataset=f"{OUT}/dataset",
        split=f"{OUT}/split.json",
    output:
        directory(f"{OUT}/model"),
    log:
        f"{OUT}/logs/train.log",
    benchmark:
        f"{OUT}/logs/train.tsv"
    threads: 8
    params:
        stage_version=1,
        settings=cfg.section("model", "train"),
        folder=f"{OUT}/training",
        launch=lambda wildcards: cfg.launch.train,
    shell:
        # The run folder outlives a killed job, so that training resumes; the checkpoint is copied when it is done.
        "{params.launch} nextham train {input.dataset:q} --split {input.split:q} -o {params.folder:q} --resume --restart"
        " --settings {params.settings:q} 2>&1 | tee {log:q}"
        " && cp -r {params.folder:q}/best {output:q}"


rule predict:
    input:
        dataset=f"{OUT}/dataset",
        split=f"{OUT}/split.json",
        model=f"{OUT}/model",
    output:
        directory(f"{OUT}/prediction"),
    log:
        f"{OUT}/logs/predict.log",
    threads: 8
    params:
        stage_version=1,
        subset=cfg.benchmark.subset,
    shell:
        "nextham predict {input.dataset:q} --checkpoint {input.model:q} --split {input.split:q} --subset {params.subset:q}"
        " -o {output:q} 2>&1 | tee {log:q}"
