"""What the Makefile runs, from the root of the checkout: `python -m scripts.demo`."""
