"""inspection/: measure every file of the folder and say what speaks against it."""

from lora_prep.inspection.inspect import Limits, inspect_photos

__all__ = ["Limits", "inspect_photos"]
