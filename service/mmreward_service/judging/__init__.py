"""A judge compares responses: which pairs, one comparison, and what the scores come to."""
