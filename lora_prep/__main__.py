"""`python -m lora_prep`: the command line."""

from lora_prep.cli import main

if __name__ == "__main__":
    main()
