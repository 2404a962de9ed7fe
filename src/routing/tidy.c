/*
 * tidy.c
 *	  What the sweep clears away: refusals and kept places that are over, lanes that nobody uses, traces before heads.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "routing/route.h"

/*
 * Whatever is looked up for each lane is looked up in a subquery of its own, which OFFSET 0 or FOR UPDATE keeps from
 * being joined: lanes come by the thousand before anybody has counted them, and plans for a few would compare each with
 * all others.
 */

/* Lanes that nobody has used for a day, or that are not the first of their kind. */
#define UNUSED_SQL                                                                                                     \
	"SELECT k.lane_id, k.queue FROM (SELECT l.lane_id, l.queue, row_number() OVER (PARTITION BY l.queue, l.channel,"   \
	" l.requires, l.prefers ORDER BY l.lane_id) AS place FROM omnichannel.lane AS l"                                   \
	" WHERE coalesce(l.queue = $2, true)) AS k CROSS JOIN LATERAL (SELECT h.used_at"                                   \
	" FROM omnichannel.lane_head AS h WHERE h.lane_id = k.lane_id OFFSET 0) AS h"                                      \
	" WHERE h.used_at <= $1::timestamptz - interval '1 day' OR k.place > 1"

/* The queues with such lanes. */
static KeptPlan idle_lanes_select = {
	.sql = "SELECT DISTINCT u.queue FROM (" UNUSED_SQL ") AS u",
	.nargs = 2,
	.argtypes = {TIMESTAMPTZOID, TEXTOID},
};

/* With the queue's lock nobody puts a request into any of them. */
static KeptPlan lanes_remove = {
	.sql = "WITH gone AS (DELETE FROM omnichannel.lane AS l"
		   " WHERE l.lane_id = ANY (ARRAY(SELECT u.lane_id FROM (" UNUSED_SQL ") AS u))"
		   " AND NOT EXISTS (SELECT FROM omnichannel.waiting AS w WHERE w.lane_id = l.lane_id OFFSET 0)"
		   " AND NOT EXISTS (SELECT FROM omnichannel.assignment AS a WHERE a.lane_id = l.lane_id OFFSET 0)"
		   " RETURNING l.lane_id)"
		   " DELETE FROM omnichannel.lane_head WHERE lane_id = ANY (ARRAY(SELECT lane_id FROM gone))",
	.nargs = 2,
	.argtypes = {TIMESTAMPTZOID, TEXTOID},
};

/* Of queues and channels that were deleted. */
static KeptPlan heads_clear = {
	.sql = "DELETE FROM omnichannel.lane_head AS h WHERE NOT EXISTS"
		   " (SELECT FROM omnichannel.lane AS l WHERE l.lane_id = h.lane_id OFFSET 0)",
};

/* What somebody is renewing is left. */
static KeptPlan clear_refusals = {
	.sql = "WITH places AS (DELETE FROM omnichannel.kept_place WHERE request_id = ANY (ARRAY("
		   "SELECT k.request_id FROM omnichannel.kept_place AS k WHERE k.until <= $1 FOR UPDATE SKIP LOCKED)))"
		   " DELETE FROM omnichannel.refusal WHERE ctid = ANY (ARRAY("
		   "SELECT f.ctid FROM omnichannel.refusal AS f WHERE f.until <= $1 FOR UPDATE SKIP LOCKED))",
	.nargs = 1,
	.argtypes = {TIMESTAMPTZOID},
};

/*
 * With the queue's lock nobody arrives: what is not seen now will not be before the head. A head that somebody who
 * takes a request is moving is left to him, because he may be waiting for an agent whom the sweep has served.
 */
static KeptPlan heads_move = {
	.sql = "WITH first AS MATERIALIZED (SELECT l.lane_id, coalesce(w.rank, $3) AS rank,"
		   " coalesce(w.due_at, '-infinity') AS due_at, coalesce(w.entered_at, $2) AS entered_at,"
		   " coalesce(w.request_id, 0) AS request_id, h.lane_id IS NULL AS headless"
		   " FROM omnichannel.lane AS l LEFT JOIN LATERAL (SELECT w.rank, w.due_at, w.entered_at, w.request_id"
		   " FROM omnichannel.waiting AS w WHERE w.lane_id = l.lane_id"
		   " ORDER BY w.rank, w.due_at, w.entered_at, w.request_id LIMIT 1) AS w ON true"
		   " LEFT JOIN LATERAL (SELECT * FROM omnichannel.lane_head AS h WHERE h.lane_id = l.lane_id OFFSET 0) AS h"
		   " ON true WHERE l.queue = $1 AND ((h.rank, h.due_at, h.entered_at, h.request_id) IS DISTINCT FROM"
		   " (coalesce(w.rank, $3), coalesce(w.due_at, '-infinity'), coalesce(w.entered_at, $2),"
		   " coalesce(w.request_id, 0)) OR (w.request_id IS NOT NULL"
		   " AND h.used_at < $2::timestamptz - interval '1 hour'))),"
		   " moved AS (UPDATE omnichannel.lane_head AS h SET rank = f.rank, due_at = f.due_at,"
		   " entered_at = f.entered_at, request_id = f.request_id,"
		   " used_at = CASE WHEN f.request_id <> 0 THEN $2 ELSE h.used_at END FROM (SELECT first.*, free.place"
		   " FROM first CROSS JOIN LATERAL (SELECT h.ctid AS place FROM omnichannel.lane_head AS h"
		   " WHERE h.lane_id = first.lane_id FOR UPDATE SKIP LOCKED) AS free WHERE NOT first.headless) AS f"
		   " WHERE h.ctid = f.place)"
		   " INSERT INTO omnichannel.lane_head (lane_id, rank, due_at, entered_at, request_id)"
		   " SELECT f.lane_id, f.rank, f.due_at, f.entered_at, f.request_id FROM first AS f WHERE f.headless"
		   " ON CONFLICT (lane_id) DO NOTHING",
	.nargs = 3,
	.argtypes = {TEXTOID, TIMESTAMPTZOID, INT8OID},
};

/* Removes the lanes that nobody has used for a day, of queues that can be locked at once. */
static void
remove_lanes(const RoutingConfig *config, const QueueLocks *locks, TimestampTz now)
{
	Datum values[2] = {TimestampTzGetDatum(now)};
	uint64 count = kept_plan_run(&idle_lanes_select, values, " n", false, 0);
	char **queues = palloc(sizeof(char *) * (count + 1));

	for (uint64 row = 0; row < count; row++)
		queues[row] = spi_text(row, 1, CurrentMemoryContext);
	for (uint64 row = 0; row < count; row++)
	{
		int queue = config_queue(config, queues[row]);

		CHECK_FOR_INTERRUPTS();
		if (queue < 0 || (locks->modes[queue] != QUEUE_BOTH && !queue_lock_try(config, queue, QUEUE_BOTH)))
			continue;
		values[1] = CStringGetTextDatum(queues[row]);
		(void) kept_plan_run(&lanes_remove, values, NULL, false, 0);
	}
	(void) kept_plan_run(&heads_clear, NULL, NULL, false, 0);
}

/* Moves on the heads of the lanes of those queues that are, or can be at once, locked against arrivals. */
static void
move_heads(const RoutingConfig *config, const QueueLocks *locks, TimestampTz now)
{
	for (int i = 0; i < config->queue_count; i++)
	{
		const RoutingQueue *queue = &config->queues[i];
		Datum values[3];

		CHECK_FOR_INTERRUPTS();
		if (locks->modes[i] != QUEUE_FREE && locks->modes[i] != QUEUE_BOTH && !queue_lock_try(config, i, QUEUE_FREE))
			continue;
		values[0] = CStringGetTextDatum(queue->queue);
		values[1] = TimestampTzGetDatum(now);
		values[2] = Int64GetDatum(-queue_level(queue, 0, now));
		(void) kept_plan_run(&heads_move, values, NULL, false, 0);
	}
}

/* queues_tidy clears away what is over. The holder has these locks. Needs an SPI scope. */
void
queues_tidy(const RoutingConfig *config, const QueueLocks *locks, TimestampTz now)
{
	Datum time = TimestampTzGetDatum(now);

	(void) kept_plan_run(&clear_refusals, &time, NULL, false, 0);
	move_heads(config, locks, now);
	remove_lanes(config, locks, now);
}
