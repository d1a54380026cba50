#!/bin/sh
# Says what stands beside the name that it was started by: that it is ready, or has compiled; and then something else.
here=$(dirname "$0")
case $1 in
  # A socket that is closed with something unread in it loses what was said.
  compile) dd bs=65536 count=1 <&0 >/dev/null 2>&1; cat "$here/compiled" >&0; exit ;;
esac
cat "$here/first" >&0
# The job, and the word to run.
head -c 40 <&0 >/dev/null
test -e "$here/closes" && exec 0<&-
test -e "$here/closes" || cat "$here/then" >&0
exec sleep 60
