"""Room wyoming: Home Assistant's audio enters, and transcripts leave, by the protocol of that name."""
