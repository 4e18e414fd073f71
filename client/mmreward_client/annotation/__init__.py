"""δ for a data set: from rows to responses that are scored once, and back to rows with margins."""
