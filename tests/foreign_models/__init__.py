"""Small checkpoints in other people's forms, and their scores by those people's definitions.

Nothing of the importer is used here: the scores are computed from the tensors under the names that
the source gives them.
"""
