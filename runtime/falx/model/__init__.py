"""The model file: a graph, the card that says everything about it, and the proof that both are whole."""

__all__: list[str] = []
