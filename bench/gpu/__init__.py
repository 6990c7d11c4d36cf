"""Decode, first tokens and kernels on one GPU, with random weights at true sizes: `python -m bench.gpu`."""
