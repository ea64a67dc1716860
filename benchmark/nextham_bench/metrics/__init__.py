"""One file per task: what is measured on one structure, as functions of systems and operators."""
