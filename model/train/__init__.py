"""Training of fill-in-the-middle adapters: corpus, cursor positions, examples, adapters, loop."""
