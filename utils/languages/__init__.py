"""What is known of languages: which codes exist, the rules of each (a YAML file a language in rules/), scripts, and how numbers
are read aloud. A language tag and text enter; words of numbers, and what the normaliser must know of a language, leave.
"""
