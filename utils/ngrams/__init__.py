"""N-gram language models. Sentences, or text files of any size, enter; back-off models leave, in memory or as ARPA files. Text is
counted in bounded memory, by sorted runs on disk where it is larger.
"""
