"""inspection/: measure every file of the folder and say what speaks against it."""

from lora_prep.inspection.inspect import inspect_photos
from lora_prep.inspection.thresholds import Limits

__all__ = ["Limits", "inspect_photos"]
