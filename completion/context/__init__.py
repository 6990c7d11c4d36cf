"""What of the repository matters at a cursor: an index of its definitions, and the few snippets worth their tokens."""
