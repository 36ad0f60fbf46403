"""cli/: the command line. Each command is a thin call of what `pipelines` and the rooms offer.

stdout carries data only; progress and talk go to stderr.
"""

from lora_prep.cli.main import main

__all__ = ["main"]
