"""One short file for each architecture: its configuration as a table of building blocks, and where its weights lie."""
