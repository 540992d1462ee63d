"""The whole chain of a trained model, in a bundle: what stage 9 takes of finished stages, and what recognises with it. A bundle's
files and samples enter; transcripts leave.
"""
