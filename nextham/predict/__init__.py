"""Prediction: H0 of a structure plus the network's correction, in bounded memory."""

from nextham.predict.one import predicted
from nextham.predict.predictor import Prediction, Predictor

__all__ = ["Prediction", "Predictor", "predicted"]
