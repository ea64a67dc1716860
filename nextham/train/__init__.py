"""Fitting the network: loss, batches, loop, resumable state."""
