"""Serving: the engine's HTTP face, its process, and what finds or starts that process. Knows no layers and no torch."""
