#!/bin/sh
# The first is a template that dies right after it made a fork, before it can tell; all others are the real program. It finds
# itself, this test and the program, under the name that a worker goes by, beside the name that it was started by.
here=$(dirname "$0")
if mkdir "$here/died" 2>/dev/null; then
  COUNTERSIGN_DYING=$here exec "$here/test" --exact forking::dies --nocapture --test-threads 1
fi
PATH=$here
exec countersign-worker
