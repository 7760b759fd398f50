"""The published projects, repeated: a list of commands, and the page of what came out."""
