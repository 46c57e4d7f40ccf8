"""All that lasts: Delta tables, objects, and the questions asked of them. Imports schemas only."""
