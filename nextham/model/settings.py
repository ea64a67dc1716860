"""What the shape of the network is."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

# Of 68 elements with f orbitals: 1.3, 6.0, 8.9 and 12.6 million parameters. "paper" has the irreps (to 4e, both
# parities between), blocks, heads and Gaussians of arXiv:2509.19877 and the size of one of its four models; with
# equally many channels of every irrep, the width of the invariant networks makes up the number.
PRESETS: Final[dict[str, dict[str, Any]]] = {
    "tiny": {},
    "small": {"channels": 32, "lmax": 5, "n_blocks": 3, "n_heads": 8, "n_radial": 24, "width": 128},
    "base": {"channels": 40, "lmax": 5, "n_blocks": 3, "n_heads": 8, "n_radial": 32, "width": 160},
    "paper": {"channels": 32, "lmax": 4, "n_blocks": 4, "n_heads": 4, "n_radial": 64, "width": 496},
}


class ModelSettings(BaseModel):
    """Sizes, cutoffs and inputs of the network; a key that is given wins over the preset's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: Literal["tiny", "small", "base", "paper"] = Field(
        default="tiny", description="named sizes that the other keys refine"
    )
    channels: int = Field(default=16, ge=1, description="copies of each hidden irrep")
    lmax: int = Field(default=4, ge=1, le=8, description="largest degree of the hidden irreps")
    n_blocks: int = Field(default=2, ge=1, description="number of attention blocks")
    n_heads: int = Field(default=4, ge=1, description="attention heads; divides channels")
    n_radial: int = Field(default=16, ge=2, description="radial basis functions of the distance")
    width: int = Field(default=64, ge=4, description="width of the invariant networks")
    embedding: int = Field(default=16, ge=1, description="length of the element and shell embeddings")
    graph_cutoff_ang: float = Field(default=6.0, gt=0, description="messages pass between atoms closer than this")
    correction_cutoff_ang: float = Field(default=7.5, gt=0, description="pairs farther apart keep H0")
    descriptors: tuple[Literal["h0", "overlap"], ...] = Field(
        default=("h0", "overlap"), description="operators whose blocks the network reads; none: elements and distances"
    )
    target: Literal["spin-scalar", "pauli", "pauli-magnetic"] = Field(
        default="spin-scalar",
        description="parts of the correction that are learnt: h_0, or the Pauli vector too, imaginary as time reversal "
        "demands, or of magnetic data",
    )
    delta: bool = Field(default=True, description="learn the correction H - H0; false learns H itself, with the spin")
    ensemble: tuple[float, ...] = Field(
        default=(),
        description="borders in Å of intervals of distance, ascending, with readouts of their own; none: one for all",
    )
    trace_grad: bool = Field(
        default=True, description="gradient of learnt invariants as non-linearity, with the trace head"
    )

    @model_validator(mode="before")
    @classmethod
    def _merge_preset(cls, given: Any) -> Any:
        return {**PRESETS.get(given.get("preset", "tiny"), {}), **given} if isinstance(given, dict) else given

    @model_validator(mode="after")
    def _check(self) -> ModelSettings:
        if self.channels % self.n_heads:
            raise ValueError(f"channels ({self.channels}) must be a multiple of n_heads ({self.n_heads})")
        if not self.delta and self.target == "spin-scalar":
            raise ValueError(
                "delta: false needs target: pauli (or pauli-magnetic), because H holds spin-orbit coupling"
            )
        if self.target == "pauli-magnetic" and "h0" not in self.descriptors:
            raise ValueError("target: pauli-magnetic needs h0 among descriptors, which says where the moments point")
        inside = (0.0, *self.ensemble, self.correction_cutoff_ang)
        if any(a >= b for a, b in pairwise(inside)):
            raise ValueError("the borders of ensemble must ascend between 0 and correction_cutoff_ang")
        if self.graph_cutoff_ang > self.correction_cutoff_ang:
            raise ValueError("graph_cutoff_ang must not exceed correction_cutoff_ang")
        return self

    @property
    def operators(self) -> tuple[str, ...]:
        """What a prediction needs: S, which says where blocks are, and H0 where it is read or corrected."""
        return ("overlap", "h0") if self.delta or "h0" in self.descriptors else ("overlap",)
