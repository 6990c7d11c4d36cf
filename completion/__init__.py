"""What to ask the model and what to keep of its answer. Plain dataclasses and offsets; no LSP types, no tensors."""
