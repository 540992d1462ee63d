"""Spoken commands: a grammar file becomes a recogniser that answers with an intent and its slots, or "not a command".

The grammar is read (`rhino`, `templates`), becomes a small acceptor of words (`automaton`, `grammar`) and a graph of the bundle's
units (`graph`); what the network says of a recording is searched there, and links of the bundle's chain choose among the best
sentences and decide whether it was a command at all (`recognise`).
"""
