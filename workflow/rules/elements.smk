# Leave one element out: for each element a split, a training and a score -> the periodic table of skill on unseen elements.

LEFT_OUT = f"{OUT}/leave_one_element_out"


rule element_split:
    input:
        f"{OUT}/dataset",
    output:
        f"{LEFT_OUT}/{{element}}/{{element}}.json",
    log:
        f"{OUT}/logs/leave_one_element_out/{{element}}/split.log",
    params:
        stage_version=1,
        settings=lambda wildcards: cfg.split_without(wildcards.element),
        folder=lambda wildcards: f"{LEFT_OUT}/{wildcards.element}",
    shell:
        "nextham split {input:q} -o {params.folder:q} --family ood-element --settings {params.settings:q} 2>&1 | tee {log:q}"


use rule train as element_train with:
    input:
        dataset=f"{OUT}/dataset",
        split=f"{LEFT_OUT}/{{element}}/{{element}}.json",
    output:
        directory(f"{LEFT_OUT}/{{element}}/model"),
    log:
        f"{OUT}/logs/leave_one_element_out/{{element}}/train.log",
    benchmark:
        f"{OUT}/logs/leave_one_element_out/{{element}}/train.tsv"
    params:
        stage_version=1,
        settings=lambda wildcards: ELEMENTS[wildcards.element].model_dump_json(
            exclude_unset=True
        ),
        folder=lambda wildcards: f"{LEFT_OUT}/{wildcards.element}/training",
        launch=lambda wildcards: cfg.launch.train,


rule element_predict:
    input:
        dataset=f"{OUT}/dataset",
        split=f"{LEFT_OUT}/{{element}}/{{element}}.json",
        model=f"{LEFT_OUT}/{{element}}/model",
    output:
        directory(f"{LEFT_OUT}/{{element}}/prediction"),
    log:
        f"{OUT}/logs/leave_one_element_out/{{element}}/predict.log",
    threads: 8
    params:
        stage_version=1,
    shell:
        "nextham predict {input.dataset:q} --checkpoint {input.model:q} --split {input.split:q} --subset test"
        " --unseen-elements -o {output:q} 2>&1 | tee {log:q}"


use rule score as element_score with:
    input:
        dataset=f"{OUT}/dataset",
        split=f"{LEFT_OUT}/{{element}}/{{element}}.json",
        prediction=f"{LEFT_OUT}/{{element}}/prediction",
    output:
        f"{LEFT_OUT}/{{element}}/scores.json",
    log:
        f"{OUT}/logs/leave_one_element_out/{{element}}/score.log",
    params:
        stage_version=1,
        protocol=cfg.benchmark.protocol,
        subset="test",
        what=lambda wildcards, input: [
            "--prediction",
            input.prediction,
            "--name",
            wildcards.element,
        ],


def scores_of_elements(wildcards):
    if not ELEMENTS:
        raise WorkflowError(
            "leave_one_element_out.elements is empty; name elements of the dataset, e.g. [Bi, Pb]"
        )
    return expand(f"{LEFT_OUT}/{{element}}/scores.json", element=ELEMENTS)


rule elements_page:
    input:
        scores_of_elements,
    output:
        html=report(
            f"{LEFT_OUT}/index.html",
            caption="../report/elements.rst",
            category="Studies",
        ),
        tables=expand(f"{LEFT_OUT}/elements.{{kind}}", kind=["csv", "json"]),
    log:
        f"{OUT}/logs/leave_one_element_out/page.log",
    params:
        stage_version=1,
    shell:
        "nextham-bench elements {input:q} -o {output.html:q} 2>&1 | tee {log:q}"


rule leave_one_element_out:
    input:
        f"{LEFT_OUT}/index.html",
