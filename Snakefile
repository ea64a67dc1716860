# From finished DFT runs or bare crystals to shards, a trained model, predictions and a report.
# Rules say which files exist and what they cost; the two command lines do the work.
from snakemake.utils import min_version

from nextham.config import Config
from nextham.exceptions import NexthamError

min_version("9.27")


configfile: "config.yaml"


try:
    cfg = Config.parse(config)
    WORK, LISTING = cfg.work(), cfg.source.listing()
    WORK.check()
    PLAN, SPECIES = WORK.plan, cfg.species_sha256()
    STUDIES, ELEMENTS = cfg.studies(), cfg.elements()
except NexthamError as error:
    raise WorkflowError(str(error))

OUT = cfg.results


report: "workflow/report/workflow.rst"


wildcard_constraints:
    chunk=r"\d{5}",
    row="model|h0|zero",
    study="|".join(STUDIES),
    variant="[a-z0-9-]+",
    element="[A-Z][a-z]?",


include: "workflow/rules/dataset.smk"
include: "workflow/rules/model.smk"
include: "workflow/rules/benchmark.smk"
include: "workflow/rules/studies.smk"
include: "workflow/rules/elements.smk"


rule all:
    default_target: True
    input:
        f"{OUT}/dataset",
        f"{OUT}/report/index.html",
        f"{OUT}/report/dataset.html",
        f"{OUT}/report/scores.json",


rule dataset_only:
    input:
        f"{OUT}/dataset",
        f"{OUT}/split.json",
