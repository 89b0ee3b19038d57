# A sweep on SLURM: a real slurmctld and two slurmd, started here as plain processes. In the middle of it one node dies with all that runs on it: the sweep completes, and no
# finished point is made again.
. "$(dirname "$0")/common.sh"
[ -r $data/train-images-idx3-ubyte.gz ] || skip "no dataset-fashion-mnist"
for tool in slurmctld slurmd sbatch squeue scontrol unshare; do command -v $tool >/dev/null || skip "no $tool"; done
[ "$(id -u)" = 0 ] || skip "slurmd needs root"
unshare -p -f --mount-proc true 2>/dev/null || skip "no process namespaces"

host=$(hostname -s)
port=$((20000 + $$ % 20000))
mkdir state spool.n1 spool.n2
cat >slurm.conf <<END
ClusterName=heddle
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$work/munge/munge.sock,cred_expire=5
CredType=cred/munge
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool.%n
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.%n.pid
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SchedulerType=sched/backfill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
SlurmdTimeout=10
SlurmctldTimeout=10
KillWait=2
MinJobAge=300
JobRequeue=1
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + 1)) CPUs=1 RealMemory=500 State=UNKNOWN
NodeName=n2 NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + 2)) CPUs=1 RealMemory=500 State=UNKNOWN
PartitionName=p Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
END
export SLURM_CONF=$work/slurm.conf
command -v munged >/dev/null || skip "no munged"
mkdir -m 755 munge
head -c 1024 /dev/urandom >munge/key
chmod 600 munge/key
chmod 755 "$work"
pids=()
stop() { for p in "${pids[@]}"; do kill -9 "$p" 2>/dev/null; done; rm -rf "$work"; }
trap stop EXIT
munged --foreground --force --key-file=$work/munge/key --socket=$work/munge/munge.sock --pid-file=$work/munge/pid --log-file=$work/munge/log --seed-file=$work/munge/seed >munge.out 2>&1 &
pids+=($!)
for i in $(seq 50); do [ -S munge/munge.sock ] && break; sleep 0.1; done
[ -S munge/munge.sock ] || skip "munged does not start: $(tail -n 1 munge.out)"
slurmctld -D -f slurm.conf >ctld.out 2>&1 &
pids+=($!)
slurmd -D -N n1 -f slurm.conf >d1.out 2>&1 &
pids+=($!)
# The other node in a process namespace of its own: when its first process dies, everything on it does.
unshare -p -f --mount-proc slurmd -D -N n2 -f $work/slurm.conf >d2.out 2>&1 &
pids+=($!)
for i in $(seq 100); do [ "$(sinfo -h -N -o %T 2>/dev/null | grep -c idle)" = 2 ] && break; sleep 0.2; done
[ "$(sinfo -h -N -o %T 2>/dev/null | grep -c idle)" = 2 ] || skip "SLURM does not start here: $(tail -n 2 slurmctld.log 2>/dev/null)"

sweep=(explore default --weights 1,2,3,4,5,6,7,8 --sparsity 0,0.5 --geometry 4x8x8x2,8x8x8x2 --count 2000 --calib-count 128 --method gptq --no-area --memory fit,extern=0 -o study)
"$heddle" "${sweep[@]}" --engine slurm --json >stdout 2>stderr &
explore=$!
points() { ls study/points/*.json 2>/dev/null | wc -l; }
for i in $(seq 300); do [ "$(points)" -ge 4 ] && break; sleep 0.1; done
[ "$(points)" -ge 4 ] || { cat stderr slurmctld.log | tail -n 20; fail "no points come"; finish; }
for i in $(seq 100); do [ "$(squeue -h -w n2 -t R | wc -l)" -gt 0 ] && break; sleep 0.1; done
node=$(pgrep -P "${pids[3]}" | head -n 1)
running=$(squeue -h -w n2 -t R | wc -l)
kill -9 "$node"
echo "killed n2 with $running task(s) on it, $(points) of 32 points made"
[ "$(points)" -lt 32 ] || fail "the sweep had ended before the node died"
(cd study/points && stat -c '%n %i %y' -- *.json | sort) >before
wait $explore || fail "explore: $(cat stderr)"
[ "$(json points)" = 32 ] && [ "$(json missing)" = 0 ] || fail "$(json points) points, $(json missing) missing"
(cd study/points && stat -c '%n %i %y' -- *.json | sort) >after
[ -z "$(comm -23 before after)" ] || fail "a finished point was lost or made again: $(comm -23 before after | head -n 1)"
restarted=$(scontrol show job | grep -c 'Restarts=[1-9]')
[ "$restarted" -le "$running" ] || fail "$restarted tasks were started again, $running ran on the node"
# Asking again submits nothing.
ok "${sweep[@]}" --engine slurm --json
[ "$(json made)" = 0 ] && [ "$(json found)" = 32 ] || fail "again: $(json made) made"
finish
