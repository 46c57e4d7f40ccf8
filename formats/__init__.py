"""Transcripts as files: subtitles and formats of other programs."""
