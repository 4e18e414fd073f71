"""Short human reasons of preference pairs, expanded into critiques by any chat endpoint.

What a critique reward model learns to write decides how good it gets: with the annotators' own
reasons of about ten words MM-RLHF's model has ACC 0.79 on its benchmark, with reasons that a strong
model expanded 0.85 (arXiv 2502.10391, table 4; the prompt is in its table 7). Whether it helps with
other data is open: in another comparison a critique model is below a plain one (arXiv 2509.16127,
table 1).

    template      the prompt, with its places checked
    settings      what decides about a reply, and its hash
    requests      the comments of a pair as requests, each with a key
    errors        what ends a run
    endpoint      one request to one typed reply
    replies       what counts as an expansion, and the names of what does not
    journal       every reply on disk as soon as it is there
    estimate      what a run will ask for, before anything is sent
    sending       many requests under way
    pictures      references to pictures in the written file
    writing       the pairs file
"""
