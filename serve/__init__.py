"""All that answers now: the Ray Serve application, the gateway, the engines, the command line."""
