"""The engine: checkpoints, tokenizers, layers, caches, scheduling, sampling, serving. Knows nothing of editors."""
