"""Pictures for people: a slice with its heatmap, a contact sheet of a study."""
