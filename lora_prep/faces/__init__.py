"""faces/: boxes, five points and an identity vector for every face in a picture."""

from lora_prep.faces.analyser import FaceAnalyser

__all__ = ["FaceAnalyser"]
