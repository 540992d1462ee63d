"""Configuration, the table of stages, the contract that makes a stage safe to resume, and the driver. YAML files and command-line
options enter; validated configurations, planned stages and finished folders leave.
"""
