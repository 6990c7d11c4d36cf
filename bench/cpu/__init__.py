"""The engine on CPU beside llama.cpp on the same file and threads."""
