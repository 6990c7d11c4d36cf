"""How good the embedded model's answers are: `python -m bench.quality`."""
