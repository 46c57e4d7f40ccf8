"""Audio processing: decode, resample, encode, find speech. Used by worker and server alike."""
