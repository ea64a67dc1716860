"""The dataset: checked systems in Zarr stores, with manifest, splits and a ledger of failures."""
