"""The embedded engine: S(R), H0(R) and the self-consistent H(R) of the LCAO method, without another program."""
