# shellcheck shell=sh
# lib.sh: how a row of the table is reckoned from the rounds of a measurement. Sourced by the rows, not run.

# report WHAT FORMAT [inverse]: reads the rounds, "ours peer" a line, and prints a row: the medians of ours and of
# the peer's in FORMAT, as in '%.0f ms'; the median of the rounds' ratios, which is what both of a round have gone
# through, ours over the peer's or the other way round; and its spread, the lowest and the highest of them.
report() {
	awk -v what="$1" -v format="$2" -v inverse="${3:-}" '
		function middle(v, n, i, j, x) {
			for (i = 2; i <= n; i++)
				for (j = i; j > 1 && v[j] < v[j - 1]; j--) {x = v[j]; v[j] = v[j - 1]; v[j - 1] = x}
			return n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
		}
		NF != 2 || $1 <= 0 || $2 <= 0 {print "a round of \"" what "\" has no result: " $0; failed = 1; exit 1}
		{ours[NR] = $1; peer[NR] = $2; ratio[NR] = inverse != "" ? $2 / $1 : $1 / $2}
		END {
			if (failed || NR == 0) exit 1
			m = middle(ratio, NR)
			printf "%s|" format "|" format "|%.2f|%.2f-%.2f\n", what, middle(ours, NR), middle(peer, NR), m, ratio[1], ratio[NR]}'
}
