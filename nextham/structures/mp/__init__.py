"""Structures from the Materials Project: asked for in batches, each kept on disk when it is there."""
