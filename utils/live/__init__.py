"""Recognition while people speak: samples enter as they come; partial words, final words and ends of segments leave at once."""
