"""What every test finds: a process that Ctrl-C interrupts."""

import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what it runs in the background with SIGINT ignored, and Python leaves that so; but what Ctrl-C does
    # is what some tests are about.
    signal.signal(signal.SIGINT, signal.default_int_handler)
