# Prototypes, structure files or finished runs -> checked stores, one per chunk -> the dataset and its split.


if cfg.source.kind == "abacus-runs":

    rule import_runs:
        input:
            lambda wildcards: CHUNKS[wildcards.chunk],
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
            "nextham import-abacus {input:q} -o {output:q} --allow-empty --settings {params.settings:q} 2>&1 | tee {log:q}"

else:

    if cfg.source.kind == "prototypes":

        rule crystals:
            output:
                f"{OUT}/crystals/{{chunk}}.extxyz",
            log:
                f"{OUT}/logs/crystals/{{chunk}}.log",
            params:
                stage_version=1,
                settings=cfg.source.crystals.model_dump_json(exclude_unset=True),
                ids=lambda wildcards: [f"--only={id}" for id in CHUNKS[wildcards.chunk]],
            shell:
                "nextham generate -o {output:q} --settings {params.settings:q} {params.ids:q} 2>&1 | tee {log:q}"

    rule scf:
        input:
            lambda wildcards: (
                rules.crystals.output
                if cfg.source.kind == "prototypes"
                else CHUNKS[wildcards.chunk]
            ),
        output:
            directory(f"{OUT}/chunks/{{chunk}}"),
        log:
            f"{OUT}/logs/scf/{{chunk}}.log",
        benchmark:
            f"{OUT}/logs/scf/{{chunk}}.tsv"
        threads: 8
        params:
            stage_version=1,
            engine=cfg.engine,
            species=SPECIES,
            settings=cfg.section(cfg.engine, "species", "store", "checks"),
        shell:
            "nextham scf {input:q} -o {output:q} --engine {params.engine} --allow-empty --settings {params.settings:q}"
            + (" --workers {threads}" if cfg.engine == "lcao" else "")
            + " 2>&1 | tee {log:q}"


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
        "nextham pack {input:q} -o {output:q} --settings {params.settings:q} 2>&1 | tee {log:q}"


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
        "nextham split {input:q} -o {output:q} --settings {params.settings:q} 2>&1 | tee {log:q}"
