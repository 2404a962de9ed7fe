/*
 * clocks.c
 *	  Clocks as they are stored, read and locked.
 *
 * New moments move open clocks on. Of most customers there are few, and all are read; of those with many only those
 * that the moments concern: whoever writes a thousand times, or is written for by a machine, costs no more each time.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/multirangetypes.h"
#include "utils/rangetypes.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "omnichannel.h"
#include "core/look.h"
#include "sla/clock.h"

/* Locked, so that what tick() tells of a clock meanwhile is not lost; no more than tell that there are many. */
static KeptPlan open_clocks_hold = {
	.sql = "SELECT f.root, " SLA_CLOCK_COLUMNS " FROM " SLA_FAMILY " AS f CROSS JOIN LATERAL"
		   " (SELECT * FROM omnichannel.sla_clock AS o WHERE o.customer_id = f.customer_id AND o.stopped_at IS NULL"
		   " LIMIT " CppAsString2(
			   SLA_MANY_CLOCKS) " + 1) AS c ORDER BY f.root, c.customer_id, c.clock_id FOR NO KEY UPDATE OF c",
	.nargs = 1,
	.argtypes = {INT8ARRAYOID},
	.indexed = true,
};

/* The same of one customer who stands alone, which is the ordinary case and costs a fraction. */
static KeptPlan own_clocks_hold = {
	.sql = "SELECT c.customer_id, " SLA_CLOCK_COLUMNS " FROM (SELECT * FROM omnichannel.sla_clock AS o"
		   " WHERE o.customer_id = $1 AND o.stopped_at IS NULL LIMIT " CppAsString2(
			   SLA_MANY_CLOCKS) " + 1) AS c ORDER BY c.clock_id FOR NO KEY UPDATE OF c",
	.nargs = 1,
	.argtypes = {INT8OID},
	.indexed = true,
};

static KeptPlan clocks_hold = {
	.sql = "SELECT f.root, " SLA_CLOCK_COLUMNS ", coalesce(c.stopped_at < h.settled_until, false) FROM " SLA_FAMILY
		   " AS f LEFT JOIN omnichannel.sla_customer AS h ON h.customer_id = f.customer_id CROSS JOIN LATERAL"
		   " (SELECT * FROM omnichannel.sla_clock AS o WHERE o.customer_id = f.customer_id OFFSET 0)"
		   " AS c ORDER BY f.root, c.customer_id, c.clock_id FOR NO KEY UPDATE OF c",
	.nargs = 1,
	.argtypes = {INT8ARRAYOID},
	.indexed = true,
};

static KeptPlan clocks_read = {
	.sql = "SELECT f.root, " SLA_CLOCK_COLUMNS ", coalesce(c.stopped_at < h.settled_until, false) FROM " SLA_FAMILY
		   " AS f LEFT JOIN omnichannel.sla_customer AS h ON h.customer_id = f.customer_id CROSS JOIN LATERAL"
		   " (SELECT * FROM omnichannel.sla_clock AS o WHERE o.customer_id = f.customer_id OFFSET 0)"
		   " AS c ORDER BY f.root, c.customer_id, c.clock_id",
	.nargs = 1,
	.argtypes = {INT8ARRAYOID},
	.indexed = true,
};

/* Of clocks that others hold there is nothing but the family. */
static KeptPlan clocks_try = {
	.sql =
		"SELECT f.root, " SLA_CLOCK_COLUMNS ", coalesce(c.stopped_at < h.settled_until, false) FROM " SLA_FAMILY
		" AS f LEFT JOIN omnichannel.sla_customer AS h ON h.customer_id = f.customer_id CROSS JOIN LATERAL"
		" (SELECT customer_id, clock_id FROM omnichannel.sla_clock AS o WHERE o.customer_id = f.customer_id OFFSET 0)"
		" AS s LEFT JOIN LATERAL (SELECT * FROM omnichannel.sla_clock AS o WHERE o.customer_id = s.customer_id"
		" AND o.clock_id = s.clock_id FOR NO KEY UPDATE OF o SKIP LOCKED) AS c ON true"
		" ORDER BY f.root, c.customer_id, c.clock_id",
	.nargs = 1,
	.argtypes = {INT8ARRAYOID},
	.indexed = true,
};

/*
 * Open clocks that moments concern, as in machine.c: those of their request, of their thread, of their channel where
 * they or the clock name neither, and the calls that are expected. What a moment does not name is NULL.
 */
#define CLOCKS_NEAR                                                                                                    \
	"WITH asked AS MATERIALIZED (SELECT f.root, f.customer_id, n.request_id, n.thread, n.channel, n.speaks"            \
	" FROM unnest($2, $3, $4, $5, $6) AS n (root, request_id, thread, channel, speaks) JOIN " SLA_FAMILY               \
	" AS f ON f.root = n.root), near AS MATERIALIZED ("                                                                \
	"SELECT a.root, c.* FROM asked AS a CROSS JOIN LATERAL (SELECT c.customer_id, c.clock_id"                          \
	" FROM omnichannel.sla_clock AS c WHERE c.request_id = a.request_id AND c.stopped_at IS NULL OFFSET 0)"            \
	" AS c WHERE c.customer_id = a.customer_id"                                                                        \
	" UNION SELECT a.root, c.* FROM asked AS a CROSS JOIN LATERAL (SELECT c.customer_id, c.clock_id"                   \
	" FROM omnichannel.sla_clock AS c WHERE c.customer_id = a.customer_id AND c.thread = a.thread"                     \
	" AND c.stopped_at IS NULL"                                                                                        \
	" AND (a.request_id IS NULL OR c.request_id IS NULL) OFFSET 0) AS c WHERE a.thread IS NOT NULL"                    \
	" UNION SELECT a.root, c.* FROM asked AS a CROSS JOIN LATERAL (SELECT c.customer_id, c.clock_id"                   \
	" FROM omnichannel.sla_clock AS c WHERE c.customer_id = a.customer_id AND c.thread IS NULL"                        \
	" AND c.request_id IS NULL"                                                                                        \
	" AND c.channel = a.channel AND c.stopped_at IS NULL OFFSET 0)"                                                    \
	" AS c WHERE a.thread IS NOT NULL AND a.request_id IS NOT NULL"                                                    \
	" UNION SELECT a.root, c.* FROM asked AS a CROSS JOIN LATERAL (SELECT c.customer_id, c.clock_id"                   \
	" FROM omnichannel.sla_clock AS c WHERE c.customer_id = a.customer_id AND c.thread IS NULL"                        \
	" AND c.channel = a.channel AND c.stopped_at IS NULL OFFSET 0)"                                                    \
	" AS c WHERE a.thread IS NOT NULL AND a.request_id IS NULL"                                                        \
	" UNION SELECT a.root, c.* FROM asked AS a CROSS JOIN LATERAL (SELECT c.customer_id, c.clock_id"                   \
	" FROM omnichannel.sla_clock AS c WHERE c.customer_id = a.customer_id AND c.request_id IS NULL"                    \
	" AND c.channel = a.channel AND c.stopped_at IS NULL OFFSET 0)"                                                    \
	" AS c WHERE a.thread IS NULL AND a.request_id IS NOT NULL"                                                        \
	" UNION SELECT a.root, c.* FROM asked AS a CROSS JOIN LATERAL (SELECT c.customer_id, c.clock_id"                   \
	" FROM omnichannel.sla_clock AS c WHERE c.customer_id = a.customer_id AND c.channel = a.channel"                   \
	" AND c.stopped_at IS NULL OFFSET 0) AS c WHERE a.thread IS NULL AND a.request_id IS NULL"                         \
	" UNION SELECT a.root, c.* FROM asked AS a CROSS JOIN LATERAL (SELECT c.customer_id, c.clock_id"                   \
	" FROM omnichannel.sla_clock AS c WHERE c.customer_id = a.customer_id AND c.metric = 'callback'"                   \
	" AND c.stopped_at IS NULL OFFSET 0) AS c WHERE a.speaks)"                                                         \
	" SELECT n.root, " SLA_CLOCK_COLUMNS " FROM near AS n JOIN omnichannel.sla_clock AS c"                             \
	" ON c.customer_id = n.customer_id AND c.clock_id = n.clock_id ORDER BY n.root, c.customer_id, c.clock_id"
#define CLOCKS_NEAR_NARGS 6
#define CLOCKS_NEAR_TYPES                                                                                              \
	{                                                                                                                  \
		INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, TEXTARRAYOID, TEXTARRAYOID, BOOLARRAYOID                             \
	}

static KeptPlan near_hold = {
	.sql = CLOCKS_NEAR " FOR NO KEY UPDATE OF c",
	.nargs = CLOCKS_NEAR_NARGS,
	.argtypes = CLOCKS_NEAR_TYPES,
	.indexed = true,
};

static KeptPlan near_read = {
	.sql = CLOCKS_NEAR,
	.nargs = CLOCKS_NEAR_NARGS,
	.argtypes = CLOCKS_NEAR_TYPES,
	.indexed = true,
};

/* In the order of SLA_CLOCK_COLUMNS. */
const TableColumn sla_clock_columns[SLA_CLOCK_NCOLUMNS] = {{"customer_id", INT8OID},
														   {"clock_id", INT8OID},
														   {"metric", TEXTOID},
														   {"policy", TEXTOID},
														   {"request_id", INT8OID},
														   {"channel", TEXTOID},
														   {"thread", TEXTOID},
														   {"moment_id", INT8OID},
														   {"started_at", TIMESTAMPTZOID},
														   {"target", INTERVALOID},
														   {"calendar", TEXTOID},
														   {"pauses", TSTZMULTIRANGEOID},
														   {"due_at", TIMESTAMPTZOID},
														   {"time_left", INTERVALOID},
														   {"stopped_at", TIMESTAMPTZOID},
														   {"outcome", TEXTOID},
														   {"elapsed", INTERVALOID},
														   {"worked", INTERVALOID},
														   {"warn_at", TIMESTAMPTZOID},
														   {"tell_at", TIMESTAMPTZOID},
														   {"warned_at", TIMESTAMPTZOID},
														   {"breached_at", TIMESTAMPTZOID}};

static LookUp open_look = {
	.table = "sla_clock",
	.nkeys = 1,
	.where = INDEX_NULL,
	.where_column = "stopped_at",
	.ncolumns = SLA_CLOCK_NCOLUMNS,
	.columns = sla_clock_columns,
};

static const char *const outcome_names[] = {NULL, "met", "breached", "cancelled"};

/* Reads pauses from a multirange. */
void
sla_pauses_read(SlaClock *clock, Datum value)
{
	MultirangeType *pauses = DatumGetMultirangeTypeP(value);
	TypeCacheEntry *type;
	RangeType **ranges;

	if (MultirangeIsEmpty(pauses))
		return;
	type = lookup_type_cache(MultirangeTypeGetOid(pauses), TYPECACHE_MULTIRANGE_INFO)->rngtype;
	multirange_deserialize(type, pauses, &clock->pause_count, &ranges);
	clock->pauses = palloc(sizeof(SlaSpan) * clock->pause_count);
	for (int i = 0; i < clock->pause_count; i++)
	{
		RangeBound lower;
		RangeBound upper;
		bool empty;

		range_deserialize(type, ranges[i], &lower, &upper, &empty);
		clock->pauses[i].from = DatumGetTimestampTz(lower.val);
		clock->pauses[i].to = upper.infinite ? DT_NOEND : DatumGetTimestampTz(upper.val);
	}
}

/* Returns the pauses as a multirange. */
Datum
sla_pauses_datum(const SlaClock *clock)
{
	TypeCacheEntry *type = lookup_type_cache(TSTZMULTIRANGEOID, TYPECACHE_MULTIRANGE_INFO)->rngtype;
	RangeType **ranges = palloc(sizeof(RangeType *) * Max(clock->pause_count, 1));

	for (int i = 0; i < clock->pause_count; i++)
	{
		RangeBound lower = {.val = TimestampTzGetDatum(clock->pauses[i].from), .inclusive = true, .lower = true};
		RangeBound upper = {.val = TimestampTzGetDatum(clock->pauses[i].to),
							.infinite = clock->pauses[i].to == DT_NOEND};

		ranges[i] = make_range(type, &lower, &upper, false, NULL);
	}
	return MultirangeTypePGetDatum(make_multirange(TSTZMULTIRANGEOID, type, clock->pause_count, ranges));
}

/* Returns a text in the current context, NULL for NULL. */
static char *
text_of(Datum value, bool isnull)
{
	return isnull ? NULL : TextDatumGetCString(value);
}

/* Returns an id, 0 for NULL. */
static int64
id_of(Datum value, bool isnull)
{
	return isnull ? 0 : DatumGetInt64(value);
}

/* Returns a time, NO_TIME for NULL. */
static TimestampTz
time_of(Datum value, bool isnull)
{
	return isnull ? NO_TIME : DatumGetTimestampTz(value);
}

/* Returns an interval in microseconds, -1 for NULL. */
static int64
microseconds_of(Datum value, bool isnull)
{
	return isnull ? -1 : DatumGetIntervalP(value)->time;
}

/* Returns a clock of the values of SLA_CLOCK_COLUMNS, in the current context. */
static SlaClock *
make_clock(const SlaPolicies *policies, const Datum *values, const bool *nulls)
{
	SlaClock *clock = palloc0(sizeof(SlaClock));
	char *outcome;

	clock->customer_id = DatumGetInt64(values[0]);
	clock->clock_id = DatumGetInt64(values[1]);
	clock->metric = sla_metric_parse(TextDatumGetCString(values[2]));
	clock->policy_code = TextDatumGetCString(values[3]);
	clock->request_id = id_of(values[4], nulls[4]);
	clock->channel = TextDatumGetCString(values[5]);
	clock->thread = text_of(values[6], nulls[6]);
	clock->moment_id = DatumGetInt64(values[7]);
	clock->started_at = DatumGetTimestampTz(values[8]);
	clock->target = *DatumGetIntervalP(values[9]);
	clock->calendar = text_of(values[10], nulls[10]);
	sla_pauses_read(clock, values[11]);
	clock->due_at = time_of(values[12], nulls[12]);
	clock->time_left = Max(microseconds_of(values[13], nulls[13]), 0);
	clock->stopped_at = time_of(values[14], nulls[14]);
	outcome = text_of(values[15], nulls[15]);
	for (int i = SLA_MET; outcome != NULL && i <= SLA_CANCELLED; i++)
		if (strcmp(outcome, outcome_names[i]) == 0)
			clock->outcome = (SlaOutcome) i;
	clock->cancelled = clock->outcome == SLA_CANCELLED;
	clock->elapsed = Max(microseconds_of(values[16], nulls[16]), 0);
	clock->worked = microseconds_of(values[17], nulls[17]);
	clock->warn_at = time_of(values[18], nulls[18]);
	clock->tell_at = time_of(values[19], nulls[19]);
	clock->warned_at = time_of(values[20], nulls[20]);
	clock->breached_at = time_of(values[21], nulls[21]);
	clock->policy = sla_policy_find(policies, clock->policy_code, clock->metric);
	ItemPointerSetInvalid(&clock->place);
	return clock;
}

/* Returns a clock of a row with SLA_CLOCK_COLUMNS from a column on, in the current context. */
SlaClock *
sla_clock_from_row(const SlaPolicies *policies, uint64 row, int column)
{
	Datum values[SLA_CLOCK_NCOLUMNS];
	bool nulls[SLA_CLOCK_NCOLUMNS];

	for (int i = 0; i < SLA_CLOCK_NCOLUMNS; i++)
		values[i] = spi_datum(row, column + i, &nulls[i]);
	return make_clock(policies, values, nulls);
}

/* Gives a family a clock. */
static void
add_clock(SlaFamily *family, SlaClock *clock)
{
	if (family->clock_count == family->clock_room)
	{
		family->clock_room = Max(4, family->clock_room * 2);
		family->clocks = family->clocks == NULL ? palloc(sizeof(SlaClock *) * family->clock_room)
												: repalloc(family->clocks, sizeof(SlaClock *) * family->clock_room);
	}
	family->clocks[family->clock_count++] = clock;
}

/* Gives the families the clocks of the rows of a statement, which has `settled` after the columns of clocks or not. */
static void
take_rows(const SlaPolicies *policies, SlaFamily *families, int count, uint64 rows, bool settled)
{
	for (uint64 i = 0; i < rows; i++)
	{
		SlaFamily *family = sla_family_find(families, count, sla_row_id(i, 1));
		SlaClock *clock;
		bool isnull;

		(void) spi_datum(i, 2, &isnull);
		if (isnull)
		{
			family->held_by_others = true;
			continue;
		}
		clock = sla_clock_from_row(policies, i, 2);
		if (settled)
			clock->settled = DatumGetBool(spi_datum(i, 2 + SLA_CLOCK_NCOLUMNS, &isnull));
		add_clock(family, clock);
	}
	SPI_freetuptable(SPI_tuptable);
}

/* Gives the families the open clocks that their moments concern, in place of those that they had. */
static void
read_near(KeptPlan *plan, const SlaPolicies *policies, SlaFamily *families, int count)
{
	SlaColumn columns[5] = {
		{.type = INT8OID}, {.type = INT8OID}, {.type = TEXTOID}, {.type = TEXTOID}, {.type = BOOLOID}};
	Datum values[CLOCKS_NEAR_NARGS] = {sla_roots_array(families, count)};

	for (int i = 0; i < count; i++)
	{
		families[i].clock_count = 0;
		for (int j = 0; j < families[i].moment_count; j++)
		{
			const SlaMoment *moment = families[i].moments[j];
			bool contact = moment->what != MOMENT_REQUEST;

			sla_column_add_id(&columns[0], families[i].root);
			sla_column_add_id(&columns[1], moment->request_id);
			sla_column_add_text(&columns[2], moment->thread);
			sla_column_add_text(&columns[3], contact ? moment->channel : NULL);
			sla_column_add(&columns[4], BoolGetDatum(contact && sla_channel_speaks(policies, moment->channel)), false);
		}
	}
	for (int i = 0; i < 5; i++)
		values[i + 1] = sla_column_array(&columns[i]);
	plan->runs += columns[0].count - 1;
	take_rows(policies, families, count, kept_plan_run(plan, values, NULL, plan == &near_read, 0), false);
}

/*
 * sla_clocks_read reads the families' stored clocks into them, and locks them in the order in which all do.
 *
 * SLA_HOLD_OPEN reads what the families' moments may move. SLA_TRY_ALL sets held_by_others of families of which it
 * cannot have all. Needs an SPI scope.
 */
void
sla_clocks_read(const SlaPolicies *policies, SlaFamily *families, int count, SlaRead read)
{
	KeptPlan *const plans[] = {&open_clocks_hold, &clocks_hold, &clocks_try, &clocks_read};
	Datum values[1] = {sla_roots_array(families, count)};

	take_rows(policies, families, count, kept_plan_run(plans[read], values, NULL, false, 0), read != SLA_HOLD_OPEN);
	for (int i = 0; i < count && read == SLA_HOLD_OPEN; i++)
		if (families[i].clock_count > SLA_MANY_CLOCKS)
			read_near(&near_hold, policies, &families[i], 1);
}

/* sla_clocks_own does what SLA_HOLD_OPEN does, for a customer who stands alone. Needs an SPI scope. */
void
sla_clocks_own(const SlaPolicies *policies, SlaFamily *family)
{
	Datum values[1] = {Int64GetDatum(family->root)};

	take_rows(policies, family, 1, kept_plan_run(&own_clocks_hold, values, NULL, false, 0), false);
	if (family->clock_count > SLA_MANY_CLOCKS)
		read_near(&near_hold, policies, family, 1);
}

/* Orders pointers to clocks by id. For qsort. */
static int
compare_ids(const void *a, const void *b)
{
	int64 left = (*(SlaClock *const *) a)->clock_id;
	int64 right = (*(SlaClock *const *) b)->clock_id;

	return left < right ? -1 : left > right;
}

/*
 * sla_clocks_look does what sla_clocks_own() does without locks and SQL: as the active snapshot has them, with their
 * places. Returns false, with the family as it was, where that is not to be had, or there are many.
 */
bool
sla_clocks_look(const SlaPolicies *policies, SlaFamily *family)
{
	Datum keys[1] = {Int64GetDatum(family->root)};
	Datum row[SLA_CLOCK_NCOLUMNS];
	bool nulls[SLA_CLOCK_NCOLUMNS];
	LookScan scan;

	Assert(family->clock_count == 0);
	if (!look_begin(&scan, &open_look, keys, 1, GetActiveSnapshot()))
		return false;
	while (family->clock_count <= SLA_MANY_CLOCKS && look_next(&scan, false, row, nulls))
	{
		add_clock(family, make_clock(policies, row, nulls));
		family->clocks[family->clock_count - 1]->place = scan.slot->tts_tid;
	}
	look_end(&scan);
	if (family->clock_count > SLA_MANY_CLOCKS)
	{
		family->clock_count = 0;
		return false;
	}
	if (family->clock_count > 1)
		qsort(family->clocks, family->clock_count, sizeof(SlaClock *), compare_ids);
	return true;
}

/* Reads the open clocks that the family's moments concern, as the active snapshot has them. Needs an SPI scope. */
void
sla_clocks_near(const SlaPolicies *policies, SlaFamily *family)
{
	read_near(&near_read, policies, family, 1);
}
