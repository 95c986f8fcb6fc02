"""A fleet as a task of Windows' Task Scheduler: its XML, and the commands that go with it. Pure.

A real Windows service needs a program that speaks to the service control manager, which takes pywin32 or a compiled
one. The Task Scheduler is there on every Windows, takes a description in XML, and starts things at boot and at log-on.
Nobody here has seen it run: it follows the Task Scheduler's schema and ``schtasks /?``.
"""

import re
from collections.abc import Iterable
from xml.sax.saxutils import escape

from aurora_circus.service_plan import START_LIMIT, Plan, Service, Step, header

FOLDER = "aurora-circus"
RETRIES = 255
"""The most that the schema allows."""
_SCHEMA = "http://schemas.microsoft.com/windows/2004/02/mit/task"


def plan(service: Service, *, home: str) -> Plan:
    """Return how ``service`` is installed and removed; ``home`` is where the task's description is kept."""
    name = f"\\{FOLDER}\\{service.slug}"
    file = f"{home}\\task.xml"
    named = ("/TN", name)
    return Plan(
        name=name,
        file=file,
        text=text(service),
        encoding="utf-16",
        probe=Step(argv=("schtasks", "/Query", "/FO", "CSV", "/NH"), says="the Task Scheduler answers"),
        install=(Step(argv=("schtasks", "/Create", *named, "/XML", file, "/F"), says=f"the task {name} is made"),),
        start=(Step(argv=("schtasks", "/Run", *named), says=f"{name} is started", patience=float(START_LIMIT)),),
        stop=(Step(argv=("schtasks", "/Delete", *named, "/F"), says=f"the task {name} is deleted", needed=False),),
        look=(f'schtasks /Query /V /FO LIST /TN "{name}"', f'type "{service.log}"'),
        notes=()
        if service.system
        else ("it starts when you log on; to have it start at boot: --system, as an administrator",),
    )


def text(service: Service) -> str:
    """Return the task's XML."""
    user = f"<UserId>{escape(service.user)}</UserId>" if service.user else ""
    trigger = (
        "<BootTrigger><Enabled>true</Enabled></BootTrigger>"
        if service.system
        else f"<LogonTrigger><Enabled>true</Enabled>{user}</LogonTrigger>"
    )
    logon = "S4U" if service.system else "InteractiveToken"
    program, *arguments = service.argv
    said = escape(_clean(" ".join(header(service))))
    return f"""\
<?xml version="1.0" encoding="UTF-16"?>
<Task version="1.2" xmlns="{_SCHEMA}">
  <RegistrationInfo>
    <Description>{said}</Description>
  </RegistrationInfo>
  <Triggers>
    {trigger}
  </Triggers>
  <Principals>
    <Principal id="Author">{user}<LogonType>{logon}</LogonType><RunLevel>LeastPrivilege</RunLevel></Principal>
  </Principals>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <AllowHardTerminate>true</AllowHardTerminate>
    <StartWhenAvailable>true</StartWhenAvailable>
    <RunOnlyIfNetworkAvailable>false</RunOnlyIfNetworkAvailable>
    <Enabled>true</Enabled>
    <RunOnlyIfIdle>false</RunOnlyIfIdle>
    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>
    <Priority>5</Priority>
    <RestartOnFailure><Interval>PT1M</Interval><Count>{RETRIES}</Count></RestartOnFailure>
  </Settings>
  <Actions Context="Author">
    <Exec>
      <Command>{escape(_clean(program))}</Command>
      <Arguments>{escape(_clean(command_line(arguments)))}</Arguments>
    </Exec>
  </Actions>
</Task>
"""


def command_line(arguments: Iterable[str]) -> str:
    """Return arguments as a program on Windows takes its command line apart again.

    A backslash is one but before a quote: there, and before the closing one, each is doubled.
    """
    return " ".join(_quoted(each) for each in arguments)


def _quoted(argument: str) -> str:
    inner = re.sub(r'(\\*)"', r'\1\1\\"', argument)
    if argument and not re.search(r"[ \t]", argument):
        return inner
    return '"' + re.sub(r"(\\+)$", r"\1\1", inner) + '"'


def _clean(value: str) -> str:
    """Return text that XML 1.0 can hold; nothing that a path on Windows may hold is lost."""
    return "".join(each if each.isprintable() else "?" for each in value)
