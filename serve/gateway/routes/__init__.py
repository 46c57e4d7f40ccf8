"""One module a surface; each route is a few lines over the services."""
