"""The server: the Ray Serve application, the gateway, its services, the engines and the supervisor."""
