"""All supervisors that can be measured, and which of them each question is asked of."""

from benchmarks.peer import Peer
from benchmarks.peers.aurora import Aurora, AuroraUp
from benchmarks.peers.circus import Circus, CircusChildren, CircusFast, CircusFlapping, CircusHttp
from benchmarks.peers.monit import Monit
from benchmarks.peers.pm2 import Pm2, Pm2Backoff
from benchmarks.peers.skarnet import S6, Runit
from benchmarks.peers.supervisor import Supervisor, SupervisorGroup, SupervisorHttpok

KINDS: dict[str, type[Peer]] = {
    each.name: each
    for each in (
        Aurora,
        AuroraUp,
        Circus,
        CircusFast,
        CircusHttp,
        CircusFlapping,
        CircusChildren,
        Supervisor,
        SupervisorHttpok,
        SupervisorGroup,
        Pm2,
        Pm2Backoff,
        Monit,
        Runit,
        S6,
    )
}
OURS = (Aurora.name,)
STOCK = ("aurora", "circus", "supervisor", "pm2", "monit", "runit", "s6")
"""Each as it comes."""
MAIN = (*STOCK, "circus-0.1", "circus-0.1+http", "supervisor+httpok")
"""And those that are faster, or see more."""
PROBING = tuple(name for name in MAIN if KINDS[name].probes)
WITH_API = ("aurora", "circus", "supervisor", "pm2", "monit")
LOOPING = (*STOCK, "circus-0.1", "circus+flapping", "pm2+backoff")
LEAVING = (*STOCK, "circus+children", "supervisor+group")
KILLED = (*STOCK, AuroraUp.name)
GROWING = (*STOCK, "circus-0.1")
