#!/bin/sh
# demo.sh: tells the story of test/demo/run.sh on a private server. Installs what a Debian lacks; leaves nothing behind.
set -eu
cd "$(dirname "$0")/.."
. test/lib.sh
in_workshop test/demo.sh "$BUILD_PACKAGES $DEMO_PACKAGES" "$@"

use_server
set_up_database demo
PGDATABASE=demo test/demo/run.sh "$@"
