"""bundle/: the zip a trainer reads, the captions in it, and the manifest that stays here."""

from lora_prep.bundle.captions import read_captions
from lora_prep.bundle.manifest import write_manifest
from lora_prep.bundle.pack import count_images, pack

__all__ = ["count_images", "pack", "read_captions", "write_manifest"]
