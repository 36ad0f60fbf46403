"""faces/: boxes, five points and an identity vector for every face in a picture."""

from lora_prep.faces.analyser import ANALYSIS_SIDE_PX, Detection, FaceAnalyser, scaled
from lora_prep.faces.fetch import Fetched, fetch_pack
from lora_prep.faces.find import find_pack, locate_pack
from lora_prep.faces.known import KNOWN_PACKS, KnownPack, known_pack
from lora_prep.faces.packs import OPEN_PACK, FacePack, Metric, ModelFile, verify_pack
from lora_prep.faces.terms import are_accepted

__all__ = [
    "ANALYSIS_SIDE_PX",
    "KNOWN_PACKS",
    "OPEN_PACK",
    "Detection",
    "FaceAnalyser",
    "FacePack",
    "Fetched",
    "KnownPack",
    "Metric",
    "ModelFile",
    "are_accepted",
    "fetch_pack",
    "find_pack",
    "known_pack",
    "locate_pack",
    "scaled",
    "verify_pack",
]
