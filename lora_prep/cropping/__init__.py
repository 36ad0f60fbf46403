"""cropping/: the head-and-shoulders square around a face, and its pixels."""

from lora_prep.cropping.geometry import crop_box, smallest_face_px
from lora_prep.cropping.render import crop_photos

__all__ = ["crop_box", "crop_photos", "smallest_face_px"]
