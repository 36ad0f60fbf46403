"""cropping/: the pixels of the squares that were chosen."""

from lora_prep.cropping.render import crop_photos

__all__ = ["crop_photos"]
