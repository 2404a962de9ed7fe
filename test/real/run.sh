#!/bin/sh
# run.sh: the extension on real records that nobody here wrote: order lines of a wholesaler, conversations of customer
# care. They are not part of the project: OMNICHANNEL_DATA names their folder, by default ../shared/data.
set -eu
cd "$(dirname "$0")/../.."
DATA=$(readlink -f "${OMNICHANNEL_DATA:-../shared/data}" || true)
export DATA
. test/lib.sh
if [ ! -e "$DATA/retail.csv.gz" ] || [ ! -e "$DATA/care.csv.gz" ]; then
	echo "SKIPPED: no retail.csv.gz and care.csv.gz in ${OMNICHANNEL_DATA:-../shared/data}" >&2
	exit 0
fi
