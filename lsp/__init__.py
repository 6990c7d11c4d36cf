"""The Language Server Protocol room: documents and requests in, edits out. Knows nothing of models, tokens, prompts."""
