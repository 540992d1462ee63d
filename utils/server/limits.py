"""What one client may ask of the server, so that the others don't notice it. Past a limit there is an error at once."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Limits of a server; times in seconds."""

    sessions: int = 25  # streams at once: so many of stream_wordvec kept up on two cores (egs/asterisk/streams.md)
    message_bytes: int = 256 * 1024  # of one message of a WebSocket: 8 s at 16 kHz
    session_seconds: float = 4 * 3600.0  # of audio in one session
    idle_seconds: float = 30.0  # without a message of a session, or without a byte of a request
    backlog_seconds: float = 60.0  # of audio that waits to be recognised: how far a client may be ahead of the recogniser
    send_seconds: float = 10.0  # until a client has read what is sent to it
    unsent: int = 256  # messages that wait to be sent to a client
    transcriptions: int = 8  # files at once, of which one is recognised and the others are received or wait
    file_bytes: int = 256 * 1024 * 1024
    file_seconds: float = 4 * 3600.0  # of audio in one file
    words: int = 10_000  # of one call
    keywords: int = 100  # of one session
    keyword_characters: int = 100  # of one of them, with its pronunciation
    query_characters: int = 200  # of a search in what was said
    queries: int = 4  # of one session, that wait
    find_minutes: float = 30.0  # of the past of a session that can be searched
    grace_seconds: float = 60.0  # until everything has ended after SIGTERM
