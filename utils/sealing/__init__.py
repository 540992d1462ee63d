"""Encryption and signatures: files, keys and passphrases enter; sealed folders leave, or their contents, in memory.

Knows nothing of speech.
"""
