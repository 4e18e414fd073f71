"""Training of the generative judge, as Generative RLHF-V does it (arXiv 2505.18531).

Two stages, either of them alone or one after the other: a supervised warm start on judgements that
the rows hold, then reinforcement learning whose only reward is that the preferred answer got the
higher score. Rows, media, packing, adapters and curves are those of `critique`. Module by module:

    comparisons   a pair in an order of its answers: the prompt as it is served, what is learned
    judgements    the judgement that a row holds, or one composed of its reasons
    encoding      a row of the table -> comparisons and media
    schedule      which pair is shown when, and in which order
    rewards       what came of a judgement, and what that is worth
    supervised    the first stage
    reinforced    the second stage, on TRL's GRPOTrainer
    validation    held-out pairs, judged in both orders
    publishing    a checkpoint folder that the service takes
"""
