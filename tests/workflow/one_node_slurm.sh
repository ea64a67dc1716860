#!/usr/bin/env bash
# A Slurm of one node by hand, for tests: one_node_slurm.sh start|stop FOLDER. Needs root and the packages slurmctld,
# slurmd, slurm-client and munge (Debian 12: 22.05). Listens on the loopback interface alone.
set -euo pipefail
ACTION=$1 D=$2
CONF=/etc/slurm/slurm.conf  # jobs of Snakemake's plugin see no SLURM_CONF: it has to be at its default place
MARK="# of one_node_slurm.sh"

stop() {
  export SLURM_CONF=$D/slurm.conf
  scancel --user=root >/dev/null 2>&1 || true
  for name in slurmctld slurmd munged; do
    if [ -f "$D/run/$name.pid" ]; then kill "$(cat "$D/run/$name.pid")" 2>/dev/null || true; fi
  done
  if grep -qsF "$MARK" $CONF; then rm -f $CONF; fi
}

start() {
  if [ -f $CONF ] && ! grep -qF "$MARK" $CONF; then
    echo "$CONF exists: this machine has a Slurm of its own" >&2
    exit 2
  fi
  mkdir -p "$D"/{state,spool,log,run} /etc/slurm
  local host cpus memory
  host=$(hostname -s) cpus=$(nproc) memory=$(awk '/MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo)
  cat >"$D/slurm.conf" <<END
$MARK
ClusterName=local
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmctldPort=16817
SlurmdPort=16818
SlurmctldPidFile=$D/run/slurmctld.pid
SlurmdPidFile=$D/run/slurmd.pid
SlurmctldLogFile=$D/log/slurmctld.log
SlurmdLogFile=$D/log/slurmd.log
StateSaveLocation=$D/state
SlurmdSpoolDir=$D/spool
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
MpiDefault=none
ReturnToService=2
MinJobAge=3600
InactiveLimit=0
KillWait=5
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cpus RealMemory=$memory State=UNKNOWN
PartitionName=main Nodes=$host Default=YES MaxTime=1-00:00:00 State=UP
END
  cp "$D/slurm.conf" $CONF
  export SLURM_CONF=$D/slurm.conf
  install -d -o munge -g munge -m 755 /run/munge
  if ! munge -n >/dev/null 2>&1; then
    runuser -u munge -- /usr/sbin/munged --pid-file=/run/munge/munged.pid
    cp /run/munge/munged.pid "$D/run/munged.pid" 2>/dev/null || true
  fi
  for _ in $(seq 50); do
    if munge -n >/dev/null 2>&1; then break; fi
    sleep 0.2
  done
  slurmctld -f "$D/slurm.conf"
  slurmd -f "$D/slurm.conf" -N "$host"
  for _ in $(seq 120); do
    if sinfo -h -o %T 2>/dev/null | grep -q idle; then exit 0; fi
    sleep 0.5
  done
  echo "the node does not become idle; see $D/log" >&2
  exit 1
}

"$ACTION"
