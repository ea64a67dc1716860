"""Engines: Structure -> LCAOSystem. The only code that knows a DFT program."""
