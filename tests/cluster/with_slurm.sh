#!/usr/bin/env bash
# A SLURM of one node, with accounting and two fake GPUs, for the length of one command:
#
#     tests/cluster/with_slurm.sh COMMAND...
#
# For root on Debian. All of it lives in namespaces of its own, above a folder in memory: packages that
# are missing are installed there, daemons and jobs end with the command, and nothing is left behind.
# Where that cannot be had (no root, no Debian, no namespaces, no overlays) it says why in one line, and
# exits with 77. Where it can, whatever goes wrong is a failure.
set -euo pipefail

refuse() {
    echo "no SLURM can be started here: $1" >&2
    exit 77
}

fail() {
    echo "SLURM should start here: $1" >&2
    exit 1
}

enter() {
    [ "$(id -u)" = 0 ] || refuse "its daemons need root: run this as root"
    command -v apt-get >/dev/null || refuse "it is installed by Debian's apt-get: use a Debian 12 machine"
    unshare --mount --pid --net --uts --fork true 2>/dev/null ||
        refuse "this machine refuses namespaces to root: use one that is no container"
    STATE=$(mktemp -d)
    export STATE
    # Whatever ends this shell ends the namespaces, and the kernel all that is in them.
    setpriv --pdeathsig KILL \
        unshare --mount --pid --fork --kill-child --mount-proc "$0" --install "$@" &
    trap 'kill -KILL %1 2>/dev/null || true; rmdir "$STATE"' EXIT
    trap 'exit 130' INT TERM HUP
    wait %1
}

install_slurm() {
    mount -t tmpfs -o mode=755 slurm "$STATE" || refuse "this machine mounts no tmpfs"
    for folder in etc usr var run; do
        mkdir -p "$STATE"/{upper,work}/"$folder"
        mount -t overlay overlay \
            -o "lowerdir=/$folder,upperdir=$STATE/upper/$folder,workdir=$STATE/work/$folder" "/$folder" ||
            refuse "this machine mounts no overlay over /$folder"
    done
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d # packages must not start their daemons
    chmod +x /usr/sbin/policy-rc.d
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update; apt-get install --yes --no-install-recommends \
        slurmctld slurmd slurm-client slurmdbd mariadb-server munge iproute2; } \
        >"$STATE/apt.log" 2>&1 || fail "apt-get could not install it: $(tail -n 1 "$STATE/apt.log")"
    mkdir -m 1777 "$STATE/tmp"
    unshare --net --uts "$0" --start "$@"
}

configure() {
    mkdir -p /etc/slurm "$STATE/dev"
    for number in 0 1; do # a GPU must be a character device whose name ends in a number
        mknod -m 666 "$STATE/dev/nvidia$number" c 1 3
    done
    echo "NodeName=node Name=gpu Type=fake File=$STATE/dev/nvidia[0-1]" >/etc/slurm/gres.conf
    echo "CgroupPlugin=cgroup/v1" >/etc/slurm/cgroup.conf
    cat >/etc/slurm/slurmdbd.conf <<'END'
AuthType=auth/munge
DbdHost=localhost
SlurmUser=root
StorageType=accounting_storage/mysql
StorageUser=slurm
StorageLoc=slurm_acct_db
LogFile=/var/log/slurm/slurmdbd.log
PidFile=/run/slurmdbd.pid
END
    chmod 600 /etc/slurm/slurmdbd.conf
    # Eight processors and 64 GB are claimed, whatever there is: jobs of this test are small.
    cat >/etc/slurm/slurm.conf <<'END'
ClusterName=test
SlurmctldHost=node(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=cred_expire=20
CredType=cred/munge
StateSaveLocation=/var/spool/slurmctld
SlurmdSpoolDir=/var/spool/slurmd
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
SlurmctldLogFile=/var/log/slurm/slurmctld.log
SlurmdLogFile=/var/log/slurm/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
KillWait=5
MinJobAge=300
JobAcctGatherType=jobacct_gather/linux
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStorageTRES=gres/gpu
AccountingStoreFlags=job_comment
AccountingStorageEnforce=associations,limits
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0,sched_min_interval=0
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
GresTypes=gpu
NodeName=node NodeAddr=127.0.0.1 CPUs=8 RealMemory=64000 Gres=gpu:fake:2
PartitionName=standard Nodes=node Default=YES MaxTime=120
PartitionName=accelerated Nodes=node MaxTime=120
END
}

until_true() {
    for _ in $(seq 300); do
        if timeout 5 "$@" >/dev/null 2>&1; then return; fi
        sleep 0.1
    done
    tail -n 20 /var/log/slurm/*.log || true
    echo "waited 30 seconds in vain for: $*"
    exit 1
}

start_slurm() {
    hostname node
    echo "127.0.0.1 node" >>/etc/hosts
    ip link set lo up
    ip address add 10.0.0.1/32 dev lo # SLURM resolves no name where there are loopback addresses only
    configure
    mkdir -p /var/log/slurm /var/spool/slurm{ctld,d}
    install -d -o munge -g munge /run/munge
    install -d -o mysql -g mysql /run/mysqld
    runuser -u munge -- munged
    mariadbd --user=mysql --skip-networking >"$STATE/mariadb.log" 2>&1 &
    until_true mariadb-admin ping
    mariadb -e "CREATE DATABASE slurm_acct_db; CREATE USER slurm@localhost; GRANT ALL ON slurm_acct_db.* TO slurm@localhost"
    slurmdbd
    until_true sacctmgr show cluster
    sacctmgr -i add cluster test
    sacctmgr -i add account research Description=research Organization=test
    sacctmgr -i add user root,nobody Account=research
    slurmctld
    until_true scontrol ping
    slurmd
    until_true bash -c 'sinfo --noheader --format %T | grep idle'
} >"$STATE/start.log" 2>&1

case "${1:-}" in
--install)
    shift
    install_slurm "$@"
    ;;
--start)
    shift
    start_slurm & # by itself, where its first error ends it
    wait $! || { cat "$STATE/start.log"; fail "its daemons do not start: $(tail -n 1 "$STATE/start.log")"; }
    SLURM_OF_TESTS=1 TMPDIR="$STATE/tmp" "$@"
    ;;
*) enter "$@" ;;
esac
