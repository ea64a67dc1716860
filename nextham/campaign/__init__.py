"""Many structures, each to a checked record in a store or to a reason in the ledger; a failed one stops nothing."""

from nextham.campaign.collect import Job, NothingStoredError, Summary, Target, collect
from nextham.campaign.outcome import Rules
from nextham.campaign.runs import (
    Computation,
    RunFolders,
    Task,
    import_foreign,
    import_runs,
    load_structures,
    run_structures,
)
from nextham.campaign.settings import DatasetSettings, EngineSettings

__all__ = [
    "Computation",
    "DatasetSettings",
    "EngineSettings",
    "Job",
    "NothingStoredError",
    "Rules",
    "RunFolders",
    "Summary",
    "Target",
    "Task",
    "collect",
    "import_foreign",
    "import_runs",
    "load_structures",
    "run_structures",
]
