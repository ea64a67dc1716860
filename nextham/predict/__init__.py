"""Prediction: H0 of a structure plus the network's correction, in bounded memory."""

from nextham.predict.ensemble import Ensemble, Prediction
from nextham.predict.one import predicted

__all__ = ["Ensemble", "Prediction", "predicted"]
