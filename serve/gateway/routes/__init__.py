"""The routes: one module for each group of paths. A route translates between HTTP and a service."""
