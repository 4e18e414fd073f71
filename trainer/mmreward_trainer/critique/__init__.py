"""Training of the critique reward model on preference pairs, as MM-RLHF does (arXiv 2502.10391).

The way of a pair, module by module:

    rows        a row of any data set -> an Arrow table on disk, fingerprinted
    media       its pictures or video -> the processor's tensors and the placeholders' length
    sequences   its texts -> token sequences, with what is learned and where the score is read
    packing     the sequences of a batch -> one row per pair, its beginning computed once
    model       the forward pass: picture, shared prompt and branches -> token losses and scores
    trainer     the loss, its exact normalisation, critiques written by the model itself
    validation  accuracy on self-written critiques
    export      a checkpoint folder that the service takes
"""
