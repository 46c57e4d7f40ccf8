"""`fluxions bench quality`: scores of a profile's engines against references."""
