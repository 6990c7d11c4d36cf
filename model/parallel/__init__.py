"""One model over several processes of a node, by torch.distributed."""
