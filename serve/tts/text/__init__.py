"""Text as a reader says it: where it is cut, what is marked in it, how it is spelled out."""
