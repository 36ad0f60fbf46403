"""selection/: which of the usable photos make the training set, and whether they are enough."""

from lora_prep.selection.select import require_enough, select_photos

__all__ = ["require_enough", "select_photos"]
