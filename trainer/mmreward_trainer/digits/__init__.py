"""The bundled model: handwritten digits, wordings, critique chains, training and evaluation."""
