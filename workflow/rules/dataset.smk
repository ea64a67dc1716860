# Crystals or finished runs -> checked stores, one per chunk -> the dataset and its split.


def source_files(wildcards):
    return CHUNKS[wildcards.chunk]


if cfg.source.kind == "abacus-runs":

    rule import_runs:
        input:
            source_files,
        output:
            directory(f"{OUT}/chunks/{{chunk}}"),
        log:
            f"{OUT}/logs/import/{{chunk}}.log",
        benchmark:
            f"{OUT}/logs/import/{{chunk}}.tsv"
        params:
            stage_version=1,
            settings=cfg.section("store", "checks"),
        shell:
            "nextham import-abacus {input} -o {output} --allow-empty --settings {params.settings:q} 2>&1 | tee {log}"

else:

    rule scf:
        input:
            source_files,
        output:
            directory(f"{OUT}/chunks/{{chunk}}"),
        log:
            f"{OUT}/logs/scf/{{chunk}}.log",
        benchmark:
            f"{OUT}/logs/scf/{{chunk}}.tsv"
        params:
            stage_version=1,
            settings=cfg.section("abacus", "store", "checks"),
        threads: workflow.cores
        shell:
            "nextham scf {input} -o {output} --allow-empty --settings {params.settings:q} 2>&1 | tee {log}"


rule dataset:
    input:
        expand(f"{OUT}/chunks/{{chunk}}", chunk=CHUNKS),
    output:
        directory(f"{OUT}/dataset"),
    log:
        f"{OUT}/logs/dataset.log",
    params:
        stage_version=1,
        settings=cfg.section("store"),
    shell:
        "nextham pack {input} -o {output} --settings {params.settings:q} 2>&1 | tee {log}"


rule split:
    input:
        f"{OUT}/dataset",
    output:
        f"{OUT}/split.json",
    log:
        f"{OUT}/logs/split.log",
    params:
        stage_version=1,
        settings=cfg.section("split"),
    shell:
        "nextham split {input} -o {output} --settings {params.settings:q} 2>&1 | tee {log}"
