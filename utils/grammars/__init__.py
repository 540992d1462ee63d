"""Grammars of spoken commands: files in two forms become a small acceptor of words, which says what each sentence means."""
