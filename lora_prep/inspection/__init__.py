"""inspection/: measure every file of the folder and say what speaks against it."""

from lora_prep.inspection.cache import AnalysisCache
from lora_prep.inspection.inspect import inspect_photos
from lora_prep.inspection.thresholds import SHARPNESS_LEAST, SHARPNESS_SOFT, Limits

__all__ = [
    "SHARPNESS_LEAST",
    "SHARPNESS_SOFT",
    "AnalysisCache",
    "Limits",
    "inspect_photos",
]
