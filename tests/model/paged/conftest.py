"""Without a GPU, Triton's kernels and xformers' own run in Triton's interpreter; both decide that when imported."""

from __future__ import annotations

import os

import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
    os.environ.setdefault("XFORMERS_ENABLE_TRITON", "1")
