"""Live transcription of streamed audio."""
