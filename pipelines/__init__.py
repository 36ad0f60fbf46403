"""pipelines/: the chain from photos to an archived LoRA, wrapped around the rooms of lora_prep."""
