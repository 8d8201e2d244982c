"""The configuration files of a local cluster, as text."""

from __future__ import annotations

from pathlib import Path

from slimline.localcluster.settings import CLUSTER_NAME, ClusterFolder, ClusterSettings

SLURMCTLD_PORT = 6817
SLURMDBD_PORT = 6819
FIRST_SLURMD_PORT = 17001
# What jobs of the partition `batch` get to save their work in when they are preempted.
GRACE_S = 10


def slurm_conf(settings: ClusterSettings, folder: ClusterFolder, host: str, address: str, *, cgroups: bool) -> str:
    """`slurm.conf`: virtual nodes on this machine, two partitions, and no waiting longer than a test wants to.

    Args:
        settings: size of the cluster.
        folder: where it lies.
        host: name of this machine, as gethostname() gives it.
        address: the loopback address that this name has.
        cgroups: whether control groups hold jobs to their memory. Without them Slurm looks once a second and kills
            what has too much; such a job ends FAILED instead of OUT_OF_MEMORY.
    """
    return f"""\
# Written by slimline.localcluster; the next start writes it anew.
ClusterName={CLUSTER_NAME}
SlurmctldHost={host}({address})
SlurmctldPort={SLURMCTLD_PORT}
# Send the signal that a job asked for when it is preempted, too.
SlurmctldParameters=preempt_send_user_signal
# Listen on the address of the machine's name, which is a loopback address, and nowhere else.
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny

AuthType=auth/munge
CredType=cred/munge
# A requeued job waits until its old credential has expired: two minutes by default.
AuthInfo=socket={folder.munge_socket},cred_expire=5

SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder.state}/slurmctld
SlurmdSpoolDir={folder.state}/%n
SlurmctldPidFile={folder.run}/slurmctld.pid
SlurmdPidFile={folder.run}/%n.pid
SlurmctldLogFile={folder.logs}/slurmctld.log
SlurmdLogFile={folder.node_log("%n")}
SlurmdSyslogDebug=quiet
MailProg=/bin/true

# Nodes are what this file says, whatever the machine has.
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=500
GresTypes=gpu
MpiDefault=none
ProctrackType=proctrack/linuxproc
{_memory_limits(cgroups)}

# A job of `urgent` takes the place of jobs of `batch`, which are queued again.
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=1,sched_interval=2,bf_interval=2
KillWait=3
# Whoever asks for a job's end without a database asks the controller, so it must not forget too soon.
MinJobAge=300
SlurmctldTimeout=30
SlurmdTimeout=20
ReturnToService=2

{_accounting(settings, folder, address)}
{_nodes(settings, host, address)}
PartitionName=DEFAULT Nodes=ALL MaxTime=1-00:00:00 DefaultTime=10 State=UP
PartitionName=batch Default=YES PriorityTier=1 PreemptMode=REQUEUE GraceTime={GRACE_S}
PartitionName=urgent PriorityTier=10 PreemptMode=OFF
"""


def _memory_limits(cgroups: bool) -> str:
    gather = "JobAcctGatherType=jobacct_gather/linux\nJobAcctGatherFrequency=task=1\n"
    if cgroups:
        return gather + "TaskPlugin=task/cgroup"
    return gather + "TaskPlugin=task/none\nJobAcctGatherParams=OverMemoryKill"


def _accounting(settings: ClusterSettings, folder: ClusterFolder, address: str) -> str:
    if not settings.accounting:
        return "AccountingStorageType=accounting_storage/none\n"
    return f"""\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost={address}
AccountingStoragePort={SLURMDBD_PORT}
AccountingStoragePass={folder.munge_socket}
AccountingStorageTRES=gres/gpu
# An account that does not exist is refused, as on most clusters.
AccountingStorageEnforce=associations
AccountingStoreFlags=job_comment
"""


def _nodes(settings: ClusterSettings, host: str, address: str) -> str:
    gres = f" Gres=gpu:{settings.gpus_per_node}" if settings.gpus_per_node else ""
    size = f"CPUs={settings.cpus_per_node} RealMemory={settings.memory_mb_per_node}{gres}"
    return "".join(
        f"NodeName={name} NodeHostname={host} NodeAddr={address} Port={port} {size}\n"
        for port, name in enumerate(settings.node_names, FIRST_SLURMD_PORT)
    )


def gpu_files(settings: ClusterSettings, folder: ClusterFolder) -> list[Path]:
    """The files that stand in for the GPUs of a node."""
    return [folder.run / f"gpu{number}" for number in range(settings.gpus_per_node)]


def gres_conf(settings: ClusterSettings, folder: ClusterFolder) -> str:
    """`gres.conf`: which file stands for which GPU."""
    return "".join(f"Name=gpu File={file}\n" for file in gpu_files(settings, folder))


def cgroup_conf(mount_point: Path) -> str:
    """`cgroup.conf`: memory is walled in, cores and devices are not, since nodes have more than the machine."""
    return f"""\
CgroupPlugin=cgroup/v1
CgroupMountpoint={mount_point}
ConstrainRAMSpace=yes
ConstrainCores=no
ConstrainDevices=no
"""


def slurmdbd_conf(folder: ClusterFolder, host: str, address: str) -> str:
    """`slurmdbd.conf`; the path of the database's Unix socket comes from the environment.

    Args:
        folder: where the cluster lies.
        host: name of this machine.
        address: the loopback address that this name has.
    """
    return f"""\
AuthType=auth/munge
AuthInfo=socket={folder.munge_socket}
CommunicationParameters=NoInAddrAny
DbdHost={host}
DbdAddr={address}
DbdPort={SLURMDBD_PORT}
SlurmUser=root
LogFile={folder.logs}/slurmdbd.log
PidFile={folder.run}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm_acct_db
"""
