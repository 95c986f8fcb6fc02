"""What every test finds: a process that signals reach, and as much time as an example takes."""

import os
import signal

import hypothesis

# What is started here is started as its users start it: with modules that were compiled once.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

for _name in ("SIGHUP", "SIGINT", "SIGTERM"):
    # Whoever runs this in the background (a shell, nohup) may have had them ignored, and every process that we start
    # inherits that; what they do is what some tests are about.
    _number = getattr(signal, _name, None)
    if _number is not None and signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _name == "SIGINT" else signal.SIG_DFL)

# No test judges how long something took: the machine may be busy.
hypothesis.settings.register_profile("patient", hypothesis.settings(), deadline=None)
hypothesis.settings.load_profile("patient")
