"""Numbers, money, dates, times, units and signs as words, for the languages other than English."""
