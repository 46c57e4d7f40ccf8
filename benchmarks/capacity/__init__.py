"""Resources for a given load, from measured costs."""
