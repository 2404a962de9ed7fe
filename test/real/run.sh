#!/bin/sh
# run.sh: the extension on real records that nobody here wrote: order lines of a wholesaler, and conversations of
# customer care. They are no part of the project: SHARED names the folder that has them in data, by default ../shared.
# Both are tracked live, and imported by backfill() from a second copy of the table, with the same result. Fails where
# anything is lost or answered differently from what was sold.
set -eu
cd "$(dirname "$0")/../.."
. test/lib.sh
if [ ! -e "${SHARED:-../shared}/data/retail.csv.gz" ] && [ -z "${WORKSHOP:-}" ]; then
	echo "SKIPPED: there is no ${SHARED:-../shared}/data/retail.csv.gz to try"
	exit 0
fi
in_workshop test/real/run.sh "$BUILD_PACKAGES" "$@"

use_server
for part in retail care; do
	createdb "$part"
	psql -X -q -d "$part" -c 'SET client_min_messages = error' -c 'CREATE EXTENSION omnichannel CASCADE' \
		-c "CALL omnichannel.setup(currency => 'GBP', country => 'GB', time_zone => 'Europe/London')"
	psql -X -d "$part" -v data="$WORKSHOP/shared/data" -f "test/real/$part.sql"
done
