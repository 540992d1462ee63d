"""A server of a `Live`: WebSockets and HTTP enter, words leave as JSON, text or subtitles; with tokens, limits and counters."""
