"""photos/: find the files of a folder, and read one as an upright sRGB picture without metadata.

Originals are opened read-only and never changed.
"""

from lora_prep.photos.decode import (
    UnreadablePhoto,
    open_crop,
    open_region,
    open_upright,
    read_photo,
)
from lora_prep.photos.find import FoundFile, find_photos
from lora_prep.photos.pixels import free_buffers, power_of_two_below

__all__ = [
    "FoundFile",
    "UnreadablePhoto",
    "find_photos",
    "free_buffers",
    "open_crop",
    "open_region",
    "open_upright",
    "power_of_two_below",
    "read_photo",
]
