"""Which architectures can be exported, pruned and quantized: tried on each, file by file."""
