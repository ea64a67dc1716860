# Prototypes, the Materials Project, structure files or finished runs -> a plan -> checked stores, one per chunk -> the dataset and its split.
# Finished stores -> the dataset at once.
# Jobs of chunks may be killed anywhere: what they had finished is theirs again when they are run again.
# One workflow at a time works in a results folder: its lock ends with its process.


onstart:
    WORK.begin(cfg.all_set())


if cfg.source.built:

    rule crystals:
        output:
            crystals=WORK.folder.crystals,
            report=f"{OUT}/crystals.json",
        log:
            f"{OUT}/logs/crystals.log",
        localrule: True  # what is fetched needs the network, which nodes of clusters lack
        params:
            stage_version=2,
            listing=LISTING,
            species=cfg.species.source or "embedded",
            settings=cfg.source.asked(),
        shell:
            "nextham structures -o {output.crystals:q} --report {output.report:q} --species {params.species:q}"
            " --settings {params.settings:q} 2>&1 | tee {log:q}"


checkpoint plan:
    input:
        [WORK.folder.crystals] if cfg.source.built else [],
    output:
        WORK.folder.planned,
    log:
        f"{OUT}/logs/plan.log",
    params:
        stage_version=1,
        results=lambda wildcards: OUT,
        listing=LISTING,
        species=SPECIES,
        settings=lambda wildcards: cfg.section(
            "source", "engine", "species", cfg.engine, "campaign"
        ),
    shell:
        "nextham campaign plan {params.results:q} 2>&1 | tee {log:q}"


rule chunk:
    input:
        ancient(WORK.folder.planned),
    output:
        f"{OUT}/chunks/{{chunk}}.json",
    log:
        f"{OUT}/logs/chunks/{{chunk}}.log",
    benchmark:
        f"{OUT}/logs/chunks/{{chunk}}.tsv"
    retries: cfg.campaign.job_retries
    threads: lambda wildcards: PLAN[wildcards.chunk].cores
    resources:
        mem_mb=lambda wildcards, attempt: PLAN[wildcards.chunk].memory_mb * attempt,
        runtime=lambda wildcards, attempt: PLAN[wildcards.chunk].limit_minutes(attempt),
        tasks=lambda wildcards: PLAN[wildcards.chunk].tasks,
        cpus_per_task=lambda wildcards: PLAN[wildcards.chunk].cores_of_task,
        mpi=lambda wildcards: PLAN[wildcards.chunk].mpi,
    params:
        stage_version=1,
        results=lambda wildcards: OUT,
    shell:
        "nextham campaign compute {params.results:q} {wildcards.chunk} --cores {threads} 2>&1 | tee {log:q}"


if cfg.source.kind == "stores":

    rule dataset:
        output:
            directory(f"{OUT}/dataset"),
        log:
            f"{OUT}/logs/dataset.log",
        params:
            stage_version=1,
            listing=LISTING,
            stores=cfg.source.items(),
            settings=cfg.section("store"),
        shell:
            "nextham pack {params.stores:q} -o {output:q} --settings {params.settings:q} 2>&1 | tee {log:q}"

else:

    rule dataset:
        input:
            lambda wildcards: (
                [
                    *checkpoints.plan.get().output,
                    *expand(f"{OUT}/chunks/{{chunk}}.json", chunk=PLAN),
                ]
            ),
        output:
            directory(f"{OUT}/dataset"),
        log:
            f"{OUT}/logs/dataset.log",
        params:
            stage_version=1,
            results=lambda wildcards: OUT,
            settings=cfg.section("store"),
        shell:
            "nextham campaign pack {params.results:q} -o {output:q} 2>&1 | tee {log:q}"


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
