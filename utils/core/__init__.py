"""What every other room builds on: errors, whole-or-absent files, processes and their signals, parallel work, timing, memory,
devices, downloads, tables of text and versions. Paths, callables and bytes enter; nothing here depends on speech.
"""
