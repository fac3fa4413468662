"""How weights reach an engine: ``vllm`` (a load format of its own) · ``files`` (real names on disk)."""
