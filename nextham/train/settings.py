"""How the network is fitted."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from nextham.model.settings import ModelSettings

EPOCHS: Final = 120  # where neither epochs nor a budget is given


class TrainSettings(BaseModel):
    """Length, steps and bookkeeping of a training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int | None = Field(
        default=None,
        ge=1,
        description="passes over the training set, over which the learning rate falls; none: 120, or with a budget "
        "as many as fit",
    )
    budget_minutes: float | None = Field(
        default=None,
        gt=0,
        description="end after this time, within an epoch too, if epochs do not end before; the learning rate falls "
        "over it",
    )
    batch_pairs: int = Field(
        default=160, ge=1, description="structures share a step while their listed pairs stay within this"
    )
    cache_pairs: int = Field(
        default=200_000, ge=0, description="listed pairs of prepared batches that are kept in memory"
    )
    learning_rate: float = Field(default=3e-3, gt=0, description="peak learning rate of AdamW")
    weight_decay: float = Field(default=0.02, ge=0, description="decoupled weight decay")
    warmup_steps: int = Field(default=100, ge=0, description="steps over which the learning rate rises")
    ema_decay: float = Field(
        default=0.99, ge=0, lt=1, description="of the moving average of weights that is kept as the model"
    )
    clip_norm: float = Field(default=10.0, gt=0, description="largest gradient norm (loss in meV)")
    real_loss: Literal["mae", "mse", "huber"] = Field(
        default="mae",
        description="of the aligned real-space errors e: |e|, e²/2d, or the latter up to d and |e| - d/2 beyond",
    )
    real_scale_mev: float = Field(default=1.0, gt=0, description="d of mse and huber")
    shift: Literal["real-space", "all-terms"] = Field(
        default="real-space",
        description="what the energy shift of each structure is fitted to: real-space errors alone, as in the Gauge "
        "MAE, or those and the errors of levels with their weights",
    )
    trace_weight: float = Field(default=0.2, ge=0, description="weight of the trace loss, in meV per typical trace")
    p_weight: float = Field(default=0.01, ge=0, description="weight of the mean error among the levels P, in meV")
    pq_weight: float = Field(default=0.006, ge=0, description="weight of the mean error between P and the levels above")
    q_weight: float = Field(default=0.0, ge=0, description="weight of the mean error among the levels above P, in meV")
    levels_from: float = Field(
        default=0.3, ge=0, le=1, description="part of training after which levels begin to count"
    )
    levels_full: float = Field(default=0.6, ge=0, le=1, description="part of training after which they count in full")
    p_cut_ev: float = Field(default=10.0, description="P holds the levels up to this above the Fermi level")
    k_pool: int = Field(default=16, ge=1, description="k points per structure whose eigenvectors are kept")
    k_per_step: int = Field(default=3, ge=1, description="k points out of the pool in each step")
    patience_epochs: int | None = Field(
        default=None, ge=1, description="stop when the loss on val has not fallen for so many epochs"
    )
    validate_every_epochs: int = Field(default=5, ge=1, description="epochs between validations")
    save_every_epochs: int = Field(default=5, ge=1, description="epochs between resumable states")
    seed: int = Field(default=0, ge=0, description="seed of the initial weights and of the order of structures")
    precision: Literal["float32", "float64", "bf16-mixed"] = Field(
        default="float32",
        description="of weights and features; losses are float64. bf16-mixed: float32 with matrix products in bfloat16",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="auto takes a GPU if there is one")
    devices: int = Field(
        default=1, ge=1, description="processes, one per device, that share each epoch; under torchrun its own count"
    )
    max_memory_gb: float | None = Field(
        default=None, gt=0, description="a batch that is estimated to need more is cut; running out on CUDA always cuts"
    )
    tensorboard: bool = Field(default=False, description="write the log for TensorBoard too")

    @property
    def last_epoch(self) -> int | None:
        """Number of epochs; None where the budget alone ends the training."""
        return EPOCHS if self.epochs is None and self.budget_minutes is None else self.epochs

    @property
    def uses_spectra(self) -> bool:
        """Whether the loss looks at levels."""
        return self.p_weight > 0 or self.pq_weight > 0 or self.q_weight > 0

    @property
    def dtype(self) -> str:
        """Name of the type of weights, geometry and operators as the network reads them."""
        return self.precision if self.precision == "float64" else "float32"

    def spectral_share(self, done: float) -> float:
        """Return how much levels count when this part of the training is done.

        Real space first: the errors of levels start far above those of H0 and would drown it.
        """
        rise = max(self.levels_full - self.levels_from, 1e-9)
        return min(1.0, max(0.0, (done - self.levels_from) / rise))


class FitSettings(BaseModel):
    """The network and its training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: ModelSettings = Field(default=ModelSettings(), description="The network.")
    train: TrainSettings = Field(default=TrainSettings(), description="How it is fitted.")
