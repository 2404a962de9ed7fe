#!/bin/sh
# run.sh: tells the story; test/demo.sh prepares the server and the database for it.
set -eu
exec python3 "$(dirname "$0")/story.py"
