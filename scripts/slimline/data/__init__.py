"""From a source to uint8 shards with an index, and the batches made of them."""
