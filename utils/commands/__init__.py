"""Spoken commands: a grammar and a bundle become a recogniser that answers with an intent and its slots, or "not a command".

The grammar becomes a graph of the bundle's units (`graph`); what the network says of a recording is searched there, links of the
bundle's chain choose among the best sentences (`scoring`), and decide whether it was a command at all (`accepting`).
`recognise` is the door. `training` tunes the weights of all this to a grammar, with synthesised speech (`tuning`).
"""
