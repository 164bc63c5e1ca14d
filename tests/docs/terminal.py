"""A shell in front of a terminal, as a reader has one. Not thread safe.

    shell = Terminal(folder, environment)
    status, printed = shell.run("x=1", 60)
    status, printed = shell.run("echo $x", 60)  # 0, "1\n"
    shell.close()

Standard output is a terminal of 200 columns, so that commands print for people;
standard error is collected beside it. What one command sets the next one has.
"""

from __future__ import annotations

import fcntl
import os
import pathlib
import pty
import re
import select
import signal
import struct
import subprocess
import tempfile
import termios
import time

ROWS, COLUMNS = 50, 200
# Runs the files that it is told of; what follows the mark is their status.
MARK = "\x1e"
LOOP = (
    r"while IFS= read -r -u 3 command; do "
    r'. "$command" </dev/null 3<&-; printf "\036%d\036" $?; done'
)


class Terminal:
    """Runs from its construction until `close`."""

    def __init__(
        self, folder: pathlib.Path, environment: dict[str, str]
    ) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="terminal.")
        self._files = pathlib.Path(self._temporary.name)
        self._errors = self._files / "errors"
        self._count = 0
        self._screen, terminal = pty.openpty()
        attributes = termios.tcgetattr(terminal)
        attributes[1] &= ~termios.OPOST  # lines end as they were written
        termios.tcsetattr(terminal, termios.TCSANOW, attributes)
        fcntl.ioctl(
            terminal,
            termios.TIOCSWINSZ,
            struct.pack("HHHH", ROWS, COLUMNS, 0, 0),
        )
        told, self._tell = os.pipe()
        with self._errors.open("wb") as errors:
            self._bash = subprocess.Popen(
                [
                    "bash",
                    "--noprofile",
                    "--norc",
                    "-c",
                    f"exec 3<&{told} {told}<&-\n{LOOP}",
                ],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=terminal,
                stderr=errors,
                pass_fds=[told],
                start_new_session=True,
            )
        os.close(terminal)
        os.close(told)

    def run(self, command: str, timeout_s: float) -> tuple[int, str]:
        """Exit status and standard output. Raises TimeoutError; then the shell
        is of no more use."""
        file = self._files / f"command{self._count}"
        self._count += 1
        file.write_text(command, "utf-8")
        os.write(self._tell, f"{file}\n".encode())
        deadline = time.monotonic() + timeout_s
        printed = b""
        while (end := re.search(rb"\x1e(\d+)\x1e$", printed)) is None:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._screen], [], [], left)[0]:
                raise TimeoutError(f"it did not end within {timeout_s:.0f} s")
            try:
                printed += os.read(self._screen, 1 << 16)
            except OSError:  # the shell ended
                return self._bash.wait(), printed.decode("utf-8", "replace")
        return int(end.group(1)), printed[: end.start()].decode(
            "utf-8", "replace"
        )

    def errors(self) -> str:
        """All of standard error so far."""
        return self._errors.read_text("utf-8", "replace")

    def close(self) -> None:
        """Ends the shell and what it still runs in the foreground."""
        os.close(self._tell)
        try:
            self._bash.wait(timeout=5)
        except subprocess.TimeoutExpired:
            os.killpg(self._bash.pid, signal.SIGKILL)
            self._bash.wait()
        os.close(self._screen)
        self._temporary.cleanup()
