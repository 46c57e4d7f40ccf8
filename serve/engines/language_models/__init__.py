"""Language models: llama.cpp in this process, or any chat completions endpoint."""
