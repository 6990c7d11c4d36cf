"""The decoder's building blocks as differentiable torch modules: slow and obvious, the reference for all fast paths."""
