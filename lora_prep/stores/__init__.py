"""stores/: put, presign, head, read and delete objects in an S3-compatible bucket."""

from lora_prep.stores.access import StoreAccess
from lora_prep.stores.capabilities import Capabilities, capabilities_of
from lora_prep.stores.credentials import KeyInUse
from lora_prep.stores.keys import (
    LORAS,
    PROBES,
    card_key,
    dataset_key,
    lora_key,
    sidecar_key,
    submission_of,
)
from lora_prep.stores.preflight import preflight
from lora_prep.stores.reach import check_fetchable, check_public
from lora_prep.stores.rules import lifecycle_state, merged_rules, policy, set_lifecycle
from lora_prep.stores.s3 import DataUrl, S3Store
from lora_prep.stores.services import Service, service_of

__all__ = [
    "LORAS",
    "PROBES",
    "Capabilities",
    "DataUrl",
    "KeyInUse",
    "S3Store",
    "Service",
    "StoreAccess",
    "capabilities_of",
    "card_key",
    "check_fetchable",
    "check_public",
    "dataset_key",
    "lifecycle_state",
    "lora_key",
    "merged_rules",
    "policy",
    "preflight",
    "service_of",
    "set_lifecycle",
    "sidecar_key",
    "submission_of",
]
