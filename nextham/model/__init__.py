"""The equivariant network: H0 and S irreps in, the spin-scalar correction out."""
