"""What is specific to a corpus: where it is, how it is split, which words its recordings hold. One module a corpus."""
