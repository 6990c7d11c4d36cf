"""Checkpoints on disk: container formats, number formats, and the names that architectures give their tensors."""
