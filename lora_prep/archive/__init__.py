"""archive/: fetch the LoRA, prove that it is whole, and keep it in the user's own bucket."""

from lora_prep.archive.archived import find_archived
from lora_prep.archive.check import check_lora
from lora_prep.archive.download import download
from lora_prep.archive.keep import TrainingFacts, archive_lora

__all__ = ["TrainingFacts", "archive_lora", "check_lora", "download", "find_archived"]
