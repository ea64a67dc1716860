"""DeepH's folders, one per structure: of DeepH-pack (classic) and of the newer DeepH-dock.

file                          DeepH-pack                             DeepH-dock
crystal                       lat.dat, rlat.dat, site_positions.dat, POSCAR
                              element.dat (columns are vectors, Å)
shells, spin, Fermi level     orbital_types.dat, info.json           info.json
S (real, without spin)        overlaps.h5                            overlap.h5
H (eV)                        hamiltonians.h5                        hamiltonian.h5
H0 (eV), of ours              hamiltonians_h0.h5                     hamiltonian_h0.h5
blocks                        a dataset "[Rx, Ry, Rz, i, j]" each,   atom_pairs (R, i, j), chunk_shapes,
                              i and j from 1                         chunk_boundaries, entries; i and j from 0
orbitals in a shell           OpenMX's: p is x, y, z                 m = -l..l, as in this project
"""
