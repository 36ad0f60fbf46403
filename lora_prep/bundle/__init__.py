"""bundle/: the zip a trainer reads, and the manifest that stays here."""

from lora_prep.bundle.manifest import write_manifest
from lora_prep.bundle.pack import count_images, pack

__all__ = ["count_images", "pack", "write_manifest"]
