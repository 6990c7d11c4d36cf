"""Does the retriever find what the next line needs, and what does the index cost? `python -m bench.context`."""
