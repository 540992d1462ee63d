"""Keywords: the words and phrases that a recording or a text is about. Transcripts with their alternatives, or texts, enter;
ranked phrases with scores, confidences and times leave. Only word vectors need torch.
"""
