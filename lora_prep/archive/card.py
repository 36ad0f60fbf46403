"""README.md beside the LoRA: a model card as model hubs read it, and how the file is used.

The fields are those of the Hugging Face hub's model cards; the person is not named.
"""

from __future__ import annotations

from collections.abc import Sequence

from lora_prep.archive.sidecar import TrainingFacts
from lora_prep.archive.use import comfyui_line, diffusers_line
from lora_prep.model import Lora

__all__ = ["model_card"]

BASE_MODELS = {
    "wavespeed-ai/wan-14b-trainer": "Wan-AI/Wan2.1-T2V-14B",
    "wavespeed-ai/wan-2.1-14b-lora-trainer": "Wan-AI/Wan2.1-T2V-14B",
    "wavespeed-ai/wan-2.2-image-lora-trainer": "Wan-AI/Wan2.2-T2V-A14B",
}
"""What the trainers' own names say; which checkpoint they really start from they do not tell."""


def model_card(facts: TrainingFacts, loras: Sequence[Lora]) -> str:
    """Return the card's text."""
    lines = [*_front_matter(facts), "", "# A LoRA of one person", ""]
    if any(lora.facts.rehearsal for lora in loras):
        lines += ["**A rehearsal: nothing was trained, and this LoRA changes nothing.**", ""]
    if facts.trigger_word:
        lines += [f"Trigger word: `{facts.trigger_word}`", ""]
    lines += ["| file | role | size | rank | sha256 |", "|---|---|---|---|---|"]
    lines += [_row(lora) for lora in loras]
    lines += ["", f"Trained with `{facts.model}`{_amounts(facts)}.", "", "## How to use it", ""]
    lines += [f"- ComfyUI: {comfyui_line(loras)}", f"- diffusers: `{diffusers_line(loras)}`", ""]
    lines += ["Everything else that is known of it stands in `lora.json`.", ""]
    return "\n".join(lines)


def _front_matter(facts: TrainingFacts) -> list[str]:
    lines = ["---", "tags:", "- lora"]
    if "wan" in facts.model:
        lines += ["- wan", "- text-to-video"]
    if base := BASE_MODELS.get(facts.model):
        lines.append(f"base_model: {base}")
    if facts.trigger_word:
        # Quoted as JSON is: the word may hold what YAML takes for its own.
        quoted = '"' + facts.trigger_word.replace("\\", "\\\\").replace('"', '\\"') + '"'
        lines.append(f"instance_prompt: {quoted}")
    return [*lines, "---"]


def _row(lora: Lora) -> str:
    name = lora.object.key.rpartition("/")[2]
    facts = lora.facts
    rank = facts.rank if facts.verified else "unverified"
    size = f"{facts.size_bytes / 1e6:.1f} MB"
    return f"| {name} | {lora.role} | {size} | {rank} | {facts.sha256} |"


def _amounts(facts: TrainingFacts) -> str:
    steps = f", {facts.steps} steps" if facts.steps else ""
    return f"{steps}, {facts.images} images" if facts.images else steps
