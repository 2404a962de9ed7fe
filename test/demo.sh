#!/bin/sh
# demo.sh: tells the story of test/demo/story.py on a private server. Installs what a Debian lacks; leaves nothing behind.
set -eu
cd "$(dirname "$0")/.."
. test/lib.sh
in_workshop test/demo.sh "$BUILD_PACKAGES $DEMO_PACKAGES" "$@"

use_server
set_up_database demo
# The package belongs to the system's Python, which need not come first in PATH.
python=python3
$python -c 'import pg8000' 2>/dev/null || python=/usr/bin/python3
PGDATABASE=demo $python test/demo/story.py
