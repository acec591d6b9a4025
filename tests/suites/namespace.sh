#!/bin/sh
# Runs a client's own tests against the brokers of one folder, in namespaces that the caller made
# (`unshare --net --mount --pid`), so that NSQ's ports and /tmp are theirs alone.
#
# usage: namespace.sh FOLDER PROGRAMS SUITE RUN
#   FOLDER    becomes /tmp: logs and data stay in it for whoever wants to know what happened
#   PROGRAMS  the folder of nsqd and nsqlookupd, first on PATH
#   SUITE     what `tests/prepare suites` made
#   RUN       the folder of this suite's run.sh, and of its `hosts`, if it needs names
set -eu
folder=$1 programs=$2 suite=$3 run=$4

ip link set lo up
mkdir "$folder/programs" "$folder/suite" "$folder/run"
mount --bind "$programs" "$folder/programs"
mount --bind "$suite" "$folder/suite"
mount --bind "$run" "$folder/run"
[ ! -e "$run/hosts" ] || mount --bind "$run/hosts" /etc/hosts
mount --rbind "$folder" /tmp

cd /tmp/suite
export PATH="/tmp/programs:$PATH" TMPDIR=/tmp
nsqd --version
exec bash /tmp/run/run.sh
