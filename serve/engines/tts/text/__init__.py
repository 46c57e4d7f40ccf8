"""Text normalisation for speech: cutting, marks, and numbers and symbols as words."""
