"""The trainings that can be asked for."""

from __future__ import annotations

__all__ = ["WAN_14B_TRAINER"]

WAN_14B_TRAINER = "wavespeed-ai/wan-14b-trainer"
"""Takes a zip of at least 10 face images, 1000 to 4000 steps; returns one LoRA."""
