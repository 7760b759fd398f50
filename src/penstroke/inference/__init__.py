"""Recognition of characters and lines from images. No torch."""
