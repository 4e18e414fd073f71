"""The bundled model as a judge: two answers, one chain of small comparisons, two scores."""
