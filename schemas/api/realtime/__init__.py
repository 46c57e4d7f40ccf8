"""The Realtime protocol: session configuration, client events, server events. Source: `openai.types.realtime`."""
