"""Search: terms scored against what the network says of recordings, an index of recordings, and measures of term detection. It
imports no torch and no k2.
"""
