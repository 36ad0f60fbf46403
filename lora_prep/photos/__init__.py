"""photos/: find the files of a folder, and read one as an upright sRGB picture without metadata.

Originals are opened read-only and never changed.
"""

from lora_prep.photos.decode import UnreadablePhoto, open_upright, read_photo
from lora_prep.photos.find import FoundFile, find_photos

__all__ = ["FoundFile", "UnreadablePhoto", "find_photos", "open_upright", "read_photo"]
