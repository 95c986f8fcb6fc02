"""What every test finds: a process that Ctrl-C interrupts, and as much time as an example takes."""

import signal

import hypothesis

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what it runs in the background with SIGINT ignored, and Python leaves that so; but what Ctrl-C does
    # is what some tests are about.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No test judges how long something took: the machine may be busy.
hypothesis.settings.register_profile("patient", hypothesis.settings(), deadline=None)
hypothesis.settings.load_profile("patient")
