"""stores/: put, presign, head, read and delete objects in an S3-compatible bucket."""

from lora_prep.stores.access import StoreAccess
from lora_prep.stores.keys import dataset_key, lora_key, sidecar_key
from lora_prep.stores.s3 import DataUrl, S3Store

__all__ = ["DataUrl", "S3Store", "StoreAccess", "dataset_key", "lora_key", "sidecar_key"]
