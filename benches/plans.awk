# Reads what auto_explain logged of claims and prints lines of measurements: how many rows and pages the walk over ready
# tasks met, and 1 if everything is as it should be: table live_tasks is read by indexes and by ctid alone, always
# under a condition on them, and no row is met that is not handed out.

/^title: / { title = substr($0, 8) }

/^(psql:.*)?LOG: / { judge(); claims = 0 }
/Query Text: -- Claims the next tasks of / { claims = 1; ways = ""; rows = pages = -1; holds = 1; scan = "" }

!claims { next }

/ Scan.* on live_tasks| Scan Backward.* on live_tasks/ {
	line = $0
	sub(/^ *(-> *)?/, "", line)
	sub(/ on live_tasks.*/, "", line)
	scan = line
	condition = 0
	match($0, /actual rows=[0-9.]+ loops=[0-9]+/)
	split(substr($0, RSTART, RLENGTH), part, /[= ]/)
	met = part[3] * part[5]
	ways = ways (ways ? ", then " : "") scan
	if (scan !~ /^(Index (Only )?Scan|Tid Scan)/) holds = 0
	if (scan ~ /live_tasks_ready/) { walks = 1; rows = met } else walks = 0
	if (met > 10) holds = 0
	unproved++
	next
}
scan && /(Index|TID) Cond: / { unproved--; next }
scan && /Rows Removed by/ { holds = 0; next }
scan && walks && /Buffers: / && pages < 0 {
	pages = 0
	n = split($0, words, /[ =]/)
	for (i = 1; i < n; i++) {
		if (words[i] == "hit" || words[i] == "read") pages += words[i + 1]
	}
	next
}
/->|CTE / { scan = "" }

function judge() {
	if (!claims || !ways) return
	if (unproved) holds = 0
	printf "plans\t%s: %s\trows\t%d\n", title, ways, rows
	printf "plans\t%s: %s\tpages\t%d\n", title, ways, pages
	printf "plans\t%s: %s\tholds\t%d\n", title, ways, (holds && rows >= 0)
	unproved = 0
	ways = ""
}
END { judge() }
