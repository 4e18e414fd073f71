"""`mmreward-train import`: reward models of other people's training, as checkpoints of this format.

`forms` says which there are, `plan` what becomes of every tensor, `writer` writes it, shard by
shard, without ever holding a model in memory.
"""
