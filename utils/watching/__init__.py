"""What is wanted of a stream beside its words: keywords as soon as they are said, commands at the end of each segment, and
places where something was said before ("rewind"). It stands between streams and the programs that serve them."""
