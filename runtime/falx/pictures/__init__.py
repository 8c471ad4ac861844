"""Pictures for people: a slice with its heatmap, a contact sheet of a study."""

__all__: list[str] = []
