"""What settings may be: type and allowed values of each key, combinations that are refused, old names of keys."""
