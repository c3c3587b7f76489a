"""Every number the client picks for you, with its unit and the reason. ``connect`` takes the ones people change as parameters."""

from __future__ import annotations

from typing import Final

CONNECT_TIMEOUT_SECONDS: Final = 5.0
"""Until a connection stands. Three lost SYN packets take 3 s to be sent again; a host that needs longer is not there."""

ANSWER_TIMEOUT_SECONDS: Final = 120.0
"""Without a byte of the answer. A batch answers when all of it is computed, so this bounds the arithmetic of one request."""

KEEP_ALIVE_SECONDS: Final = 4.0
"""An idle connection is not used again after so long: below the 5 s after which uvicorn closes it, so that no request meets a
connection that is being closed."""

RETRY_SECONDS: Final = 60.0
"""How long a request that failed is sent again, from its first failure on: a restart of the server is a pause."""

FIRST_RETRY_SECONDS: Final = 3.0
"""The same while no server has answered yet and none is reached: most likely none is running there, and that is soon said."""

PROGRAM_STORES: Final = 4
"""How many times one flush gives the server programs that it has forgotten."""

RETRY_BASE_SECONDS: Final = 0.1
"""Longest wait before the first retry; doubled for each further one. The wait is drawn evenly between zero and that ("full
jitter"), so that clients which failed together do not come back together."""

RETRY_CAP_SECONDS: Final = 2.0
"""Longest wait between two attempts, however many there were."""

FLUSH_COMMANDS: Final = 4096
"""Recorded commands that make a batch leave by itself: about 0.4 MB of JSON and 20 ms of small ops, at a price of one round trip in
thousands of ops."""

READ_AHEAD: Final = 256
"""Most numbers that programs gave out and that are read together with the first of them; each is some 100 bytes of the answer."""

DEPART_RUNS: Final = 64
"""So many recorded runs of programs are sent while more are recorded, where no batch is on its way: the server computes
meanwhile. With 8, what each batch costs took a third more processor time of a loop of 0.15 ms steps; and a loop that looks at its
loss every few steps would make two round trips of one."""

STACKED_READS: Final = 8
"""From so many on, numbers that are read together are stacked by the server first: one more op, and one read instead of many."""

TEXT_READ_BYTES: Final = 1024
"""Values up to here come as base64 in the JSON of the answer: a safetensors body costs both sides some 30 µs more than they do."""

READ_ALONG_BYTES: Final = 64 * 2**10
"""What ``map`` and ``repeat`` collect of a result comes with their answer up to here: a round trip saved for a third more bytes."""

FLUSH_BYTES: Final = 32 * 2**20
"""Bytes of recorded new tensors that make a batch leave by itself: an eighth of the server's default body limit."""

AWAIT_COMMANDS: Final = 16 * FLUSH_COMMANDS
"""Recorded commands of an async session that nothing was awaited for: beyond that more are refused. A plain call cannot wait until
some have left, as that of other sessions does."""

AWAIT_BYTES: Final = 8 * FLUSH_BYTES
"""The same of the bytes of new tensors."""

FLUSH_SILENCE_SECONDS: Final = 1.0
"""A recorded batch leaves by itself when nothing was recorded for so long: somebody is thinking at a prompt. Long enough that
no step of a busy training loop is cut in two."""

LARGE_READ_BYTES: Final = 4 * 2**20
"""A longer value is asked for in a request of its own, which changes nothing: the answer to one that does is kept by the server for
the case that it is sent again. A round trip is nothing beside the transfer."""

RELEASE_COMMANDS: Final = 64
"""After so many recorded commands, collected handles are released in the middle of the batch: bounds what the server holds for a
step beyond what a local run holds."""

SEND_PIECE_BYTES: Final = 2**20
"""Bodies are sent in pieces of at most this size; smaller ones are joined with their head and sent at once."""

RECEIVE_PIECE_BYTES: Final = 2**18
"""Most that is received at once where it cannot go straight into an array: the size of the server's own reads."""

KEPT_BLOCKS: Final = 4
"""Most blocks of memory of freed arrays that are kept for the next: two that go up, two that come down."""

SMALLEST_BLOCK_BYTES: Final = 2**20
"""The C library itself keeps the memory of smaller arrays."""

LARGEST_BLOCK_BYTES: Final = 2**24
"""Of larger arrays no memory is kept: with ``KEPT_BLOCKS`` this bounds it to 64 MiB."""

COMPRESS_BYTES: Final = 1024
"""Shorter bodies are sent as they are where compression is asked for: a packet is a packet."""

MAX_ERROR_BYTES: Final = 2**20
"""Longest error document that is read; the rest of a longer one is left unread."""

MAX_ANSWER_BYTES: Final = 2**40
"""Longest answer that is read. The arrays in it are those the script asked for; memory is the real bound."""

REMEMBERED_RULES: Final = 4096
"""Shape rules whose outcome is kept, by op, input shapes and parameters; a training step has some dozens. Beyond that all are
forgotten and asked anew."""

UPLOAD_BYTES: Final = 32 * 2**20
"""Most bytes of arrays that one request of ``map`` carries: an eighth of the server's default body limit."""

RUN_TIMES: Final = 100_000
"""Most calls that one request of ``repeat`` or ``map`` asks for, a tenth of what a server permits by default."""

TRACED_PROGRAMS: Final = 64
"""Programs that a traced function keeps a session; the oldest goes first. A training script has a few: one per batch shape."""

WARN_TRACES: Final = 8
"""After so many traces of one function in one session, and each time again, a warning says why it is traced anew."""
