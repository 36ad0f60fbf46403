"""trainers/: submit a training, and follow it to its end."""

from lora_prep.trainers.address import check_trainer_address
from lora_prep.trainers.catalogue import WAN_14B_TRAINER
from lora_prep.trainers.client import TrainerClient
from lora_prep.trainers.wait import FRESH_S, Pace, wait_for_end

__all__ = [
    "FRESH_S",
    "WAN_14B_TRAINER",
    "Pace",
    "TrainerClient",
    "check_trainer_address",
    "wait_for_end",
]
