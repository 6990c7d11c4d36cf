"""Several sequences at once: keys and values in pages, shared by prefix; one step for all of them. CPU and GPU."""
