"""One Realtime conversation over a WebSocket: audio input, turn detection, responses, and the order of events."""
