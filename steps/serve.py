"""Serve a bundle: speech as it comes (WebSocket), files (as OpenAI's clients send them), and words that are added meanwhile.

python -m steps.serve --bundle exp/asterisk/export-0123abcd/bundle
python -m steps.serve --bundle BUNDLE --host 0.0.0.0 --token-file tokens --certificate server.pem --certificate-key server.key
"""

import argparse
import logging
import socket
from dataclasses import fields, replace
from pathlib import Path
from typing import Optional, Sequence

from steps import command
from utils.bundle.opening import run
from utils.core.errors import UserError
from utils.core.options import positive
from utils.live import opening
from utils.watching import opening as watching

log = logging.getLogger("nuptse")
SESSIONS = 30  # above which a long segment would too often hold up the finals of others, had they one process alone


def parser() -> argparse.ArgumentParser:
    """The options."""
    about = "Serve a bundle: speech as it comes, files, and words added meanwhile. docs/serving.md describes it."
    p = opening.parser("serve", about)
    p.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="where to listen (default: this machine alone)")
    p.add_argument("--port", type=_port, default=8080, metavar="N", help="0 takes a free one (default 8080)")
    watching.add_options(p)
    p.add_argument("--wyoming", metavar="URI", help="serve Home Assistant there, too: tcp://127.0.0.1:10300")
    p.add_argument("--token-file", metavar="FILE", help="tokens of clients, one a line; only its owner may read it (0600)")
    p.add_argument("--certificate", metavar="FILE", help="TLS: certificate and chain, PEM")
    p.add_argument("--certificate-key", metavar="FILE", help="TLS: the certificate's key, PEM (default: in the same file)")
    p.add_argument(
        "--allow-origin", action="append", default=[], metavar="ORIGIN", help="pages of another site that may use the server"
    )
    p.add_argument(
        "--processes",
        type=positive,
        metavar="N",
        help="all but one make finals and recognise files; 1: less memory (default: 2, and 3 above 30 sessions)",
    )
    p.add_argument("--sessions", type=positive, metavar="N", help="streams at once (default 25)")
    p.add_argument("--session-seconds", type=_seconds, metavar="S", help="of audio in a session (default 14400)")
    p.add_argument("--idle-seconds", type=_seconds, metavar="S", help="without a message that end a session (default 30)")
    p.add_argument("--backlog-seconds", type=_seconds, metavar="S", help="of a session's audio that may wait (default 60)")
    p.add_argument("--message-bytes", type=positive, metavar="N", help="of one message of a session (default 262144)")
    p.add_argument("--file-bytes", type=positive, metavar="N", help="of a file (default 268435456)")
    p.add_argument("--transcriptions", type=positive, metavar="N", help="files that are recognised or wait (default 8)")
    p.add_argument(
        "--session-keywords", type=positive, dest="keywords_limit", metavar="N", help="that a session may name (default 100)"
    )
    p.add_argument("--find-minutes", type=_seconds, metavar="M", help="of a session that can be searched (default 30)")
    p.add_argument("--grace-seconds", type=_seconds, metavar="S", help="for what runs, after SIGTERM (default 60)")
    return p


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status: 2 where it can't be served."""
    return run(_serve, parser().parse_args(arguments))


def _serve(options: argparse.Namespace) -> None:
    # Imported after the options are read: --help needs the standard library alone.
    from utils.live.memory import keep_flat
    from utils.server.access import check_origin, read_tokens
    from utils.server.app import create_app
    from utils.server.limits import Limits
    from utils.server.run import bound, secured, serve
    from utils.wyoming.service import address_of, at

    tokens = read_tokens(Path(options.token_file)) if options.token_file else None
    origins = [check_origin(origin) for origin in options.allow_origin]
    if options.certificate_key and not options.certificate:
        raise UserError("--certificate-key needs --certificate, too")
    tls = None
    if options.certificate:
        tls = secured(Path(options.certificate), Path(options.certificate_key or options.certificate))
    names = {f.name: "keywords_limit" if f.name == "keywords" else f.name for f in fields(Limits)}
    given = {name: getattr(options, of, None) for name, of in names.items()}
    limits = replace(Limits(), **{name: value for name, value in given.items() if value is not None})
    listening = bound(options.host, options.port)
    local = _local(listening)
    homes = bound(*address_of(options.wyoming), "--wyoming names") if options.wyoming else None
    if homes is not None and not _local(homes):
        log.warning("warning: whoever reaches %s can have speech recognised: Wyoming has neither tokens nor TLS", options.wyoming)
    beside = [] if homes is None else [at(homes)]
    if not local and tokens is None:
        log.warning("warning: whoever reaches %s can use this server; --token-file restricts it", options.host)
    if not local and tls is None:
        log.warning("warning: speech and tokens can be read on their way; --certificate encrypts them")
    keep_flat()
    processes = options.processes or (2 if limits.sessions <= SESSIONS else 3)
    live = opening.open_live(options, apart=processes - 1, doors=watching.doors_of(options))
    try:
        watch = watching.watching_of(options, live, limits.find_minutes)
        live.start()
        serve(create_app(live, limits, tokens, origins, local, beside, watch), listening, tls)
    finally:
        live.close(finish=False)


def _local(listening: socket.socket) -> bool:
    """Whether only this machine reaches it."""
    return listening.getsockname()[0] in ("127.0.0.1", "::1")


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text} is not a port, from 0 to 65535")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds above 0")
    return value


if __name__ == "__main__":
    command(main)
