"""Recognising files: audio files and a recogniser enter; transcripts leave, as text, subtitles, tables and JSON, in a folder of
outputs that an interrupted run goes on with. It imports no torch and no k2.
"""
