"""A search over settings: the space of a YAML file, a study that processes and machines share, its trials, and its report.

Optuna proposes settings and keeps the journal. A trial runs the stages of its configuration that nobody made yet, those that
evaluate on dev alone; its error is that of the last decoding. Optuna is imported where it is used, because that takes a moment.
"""
