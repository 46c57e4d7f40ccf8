"""`fluxions bench quality`: what the engines of a profile hear, against references."""
