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

/* Until when the moments of a clock may be deleted: it had stopped before, and may have been opened again since. */
#define SLA_CLOCK_SETTLED                                                                                              \
	"CASE WHEN c.stopped_at < h.settled_until OR (c.started_at < h.settled_until AND isfinite(h.settled_until))"       \
	" THEN h.settled_until END"

/* Who belongs to families. */
static KeptPlan members_read = {
	.sql = "SELECT f.root, f.customer_id FROM " SLA_FAMILY " AS f ORDER BY f.root",
	.nargs = 1,
	.argtypes = {INT8ARRAYOID},
	.indexed = true,
};

/*
 * Clocks that were found, in the order in which they are named. They are locked, so that what tick() tells of them
 * meanwhile is not lost.
 */
static KeptPlan found_hold = {
	.sql = "SELECT n.root, " SLA_CLOCK_COLUMNS " FROM unnest($1, $2, $3) AS n (root, customer_id, clock_id)"
		   " CROSS JOIN LATERAL (SELECT * FROM omnichannel.sla_clock AS o WHERE o.customer_id = n.customer_id"
		   " AND o.clock_id = n.clock_id OFFSET 0) AS c FOR NO KEY UPDATE OF c",
	.nargs = 3,
	.argtypes = {INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID},
	.indexed = true,
};

/* All open ones, where they cannot be found without SQL. */
#define OPEN_CLOCKS                                                                                                    \
	"SELECT f.root, " SLA_CLOCK_COLUMNS " FROM " SLA_FAMILY " AS f CROSS JOIN LATERAL"                                 \
	" (SELECT * FROM omnichannel.sla_clock AS o WHERE o.customer_id = f.customer_id"                                   \
	" AND o.stopped_at IS NULL OFFSET 0) AS c ORDER BY f.root, c.customer_id, c.clock_id"

static KeptPlan open_read = {
	.sql = OPEN_CLOCKS,
	.nargs = 1,
	.argtypes = {INT8ARRAYOID},
	.indexed = true,
};

static KeptPlan open_hold = {
	.sql = OPEN_CLOCKS " FOR NO KEY UPDATE OF c",
	.nargs = 1,
	.argtypes = {INT8ARRAYOID},
	.indexed = true,
};

static KeptPlan clocks_hold = {
	.sql = "SELECT f.root, " SLA_CLOCK_COLUMNS ", " SLA_CLOCK_SETTLED " FROM " SLA_FAMILY
		   " AS f LEFT JOIN omnichannel.sla_customer AS h ON h.customer_id = f.customer_id CROSS JOIN LATERAL"
		   " (SELECT * FROM omnichannel.sla_clock AS o WHERE o.customer_id = f.customer_id OFFSET 0)"
		   " AS c ORDER BY f.root, c.customer_id, c.clock_id FOR NO KEY UPDATE OF c",
	.nargs = 1,
	.argtypes = {INT8ARRAYOID},
	.indexed = true,
};

static KeptPlan clocks_read = {
	.sql = "SELECT f.root, " SLA_CLOCK_COLUMNS ", " SLA_CLOCK_SETTLED " FROM " SLA_FAMILY
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
		"SELECT f.root, " SLA_CLOCK_COLUMNS ", " SLA_CLOCK_SETTLED " FROM " SLA_FAMILY
		" AS f LEFT JOIN omnichannel.sla_customer AS h ON h.customer_id = f.customer_id CROSS JOIN LATERAL"
		" (SELECT customer_id, clock_id FROM omnichannel.sla_clock AS o WHERE o.customer_id = f.customer_id OFFSET 0)"
		" AS s LEFT JOIN LATERAL (SELECT * FROM omnichannel.sla_clock AS o WHERE o.customer_id = s.customer_id"
		" AND o.clock_id = s.clock_id FOR NO KEY UPDATE OF o SKIP LOCKED) AS c ON true"
		" ORDER BY f.root, c.customer_id, c.clock_id",
	.nargs = 1,
	.argtypes = {INT8ARRAYOID},
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
														   {"source", TEXTOID},
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

/* The same of those that a moment concerns. */
static LookUp near_look = {
	.table = "sla_clock",
	.nkeys = 5,
	.keys = (const TableColumn[]){{"customer_id", INT8OID},
								  {"thread", TEXTOID},
								  {"request_id", INT8OID},
								  {"channel", TEXTOID},
								  {"metric", TEXTOID}},
	.where = INDEX_NULL,
	.where_column = "stopped_at",
	.ncolumns = SLA_CLOCK_NCOLUMNS,
	.columns = sla_clock_columns,
};

static const char *const outcome_names[] = {NULL, "met", "breached", "cancelled"};

/* Returns how an outcome is written, NULL for a clock that has none yet. */
const char *
sla_outcome_name(SlaOutcome outcome)
{
	return outcome_names[outcome];
}

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
	clock->source = text_of(values[7], nulls[7]);
	clock->moment_id = DatumGetInt64(values[8]);
	clock->started_at = DatumGetTimestampTz(values[9]);
	clock->target = *DatumGetIntervalP(values[10]);
	clock->calendar = text_of(values[11], nulls[11]);
	sla_pauses_read(clock, values[12]);
	clock->due_at = time_of(values[13], nulls[13]);
	clock->time_left = Max(microseconds_of(values[14], nulls[14]), 0);
	clock->stopped_at = time_of(values[15], nulls[15]);
	outcome = text_of(values[16], nulls[16]);
	for (int i = SLA_MET; outcome != NULL && i <= SLA_CANCELLED; i++)
		if (strcmp(outcome, outcome_names[i]) == 0)
			clock->outcome = (SlaOutcome) i;
	clock->cancelled = clock->outcome == SLA_CANCELLED;
	clock->elapsed = Max(microseconds_of(values[17], nulls[17]), 0);
	clock->worked = microseconds_of(values[18], nulls[18]);
	clock->warn_at = time_of(values[19], nulls[19]);
	clock->tell_at = time_of(values[20], nulls[20]);
	clock->warned_at = time_of(values[21], nulls[21]);
	clock->breached_at = time_of(values[22], nulls[22]);
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
		SlaFamily *family = sla_family_find(families, count, spi_id(i, 1));
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
		{
			Datum until = spi_datum(i, 2 + SLA_CLOCK_NCOLUMNS, &isnull);

			clock->settled = !isnull;
			clock->settled_until = isnull ? NO_TIME : DatumGetTimestampTz(until);
		}
		add_clock(family, clock);
	}
	SPI_freetuptable(SPI_tuptable);
}

/* Orders pointers to clocks as all lock them. For qsort. */
static int
compare_keys(const void *a, const void *b)
{
	const SlaClock *left = *(SlaClock *const *) a;
	const SlaClock *right = *(SlaClock *const *) b;

	if (left->customer_id != right->customer_id)
		return left->customer_id < right->customer_id ? -1 : 1;
	return left->clock_id < right->clock_id ? -1 : left->clock_id > right->clock_id;
}

/*
 * Adds to the family a customer's open clocks, as the snapshot has them, with their places, until there are many;
 * returns false where that is not to be had.
 */
static bool
look_open_clocks(const SlaPolicies *policies, SlaFamily *family, int64 customer_id, Snapshot snapshot)
{
	Datum keys[1] = {Int64GetDatum(customer_id)};
	Datum row[SLA_CLOCK_NCOLUMNS];
	bool nulls[SLA_CLOCK_NCOLUMNS];
	LookScan scan;

	if (!look_begin(&scan, &open_look, keys, 1, snapshot))
		return false;
	while (family->clock_count <= SLA_MANY_CLOCKS && look_next(&scan, false, row, nulls))
	{
		add_clock(family, make_clock(policies, row, nulls));
		family->clocks[family->clock_count - 1]->place = scan.slot->tts_tid;
	}
	look_end(&scan);
	return true;
}

/* Adds to the family the open clocks with these keys of near_look; returns false where that is not to be had. */
static bool
look_near_by(const SlaPolicies *policies, SlaFamily *family, const Datum *keys, const LookKey *how, Snapshot snapshot)
{
	Datum row[SLA_CLOCK_NCOLUMNS];
	bool nulls[SLA_CLOCK_NCOLUMNS];
	LookScan scan;

	if (!look_begin_some(&scan, &near_look, keys, how, snapshot))
		return false;
	while (look_next(&scan, false, row, nulls))
		add_clock(family, make_clock(policies, row, nulls));
	look_end(&scan);
	return true;
}

/*
 * Adds to the family a customer's open clocks that a moment concerns, as in machine.c: those of its request, of its
 * thread, of its channel where it or the clock names neither, and the calls that are expected. Some come twice.
 */
static bool
look_near(const SlaPolicies *policies, SlaFamily *family, int64 customer_id, const SlaMoment *moment, Snapshot snapshot)
{
	bool contact = moment->what != MOMENT_REQUEST;
	bool request = moment->request_id != 0;
	bool thread = moment->thread != NULL;
	LookKey neither = request ? LOOK_NULL : LOOK_ANY;
	Datum keys[5] = {Int64GetDatum(customer_id), thread ? CStringGetTextDatum(moment->thread) : (Datum) 0,
					 Int64GetDatum(moment->request_id), contact ? CStringGetTextDatum(moment->channel) : (Datum) 0,
					 CStringGetTextDatum(sla_metric_name(SLA_CALLBACK))};
	const LookKey by_request[5] = {LOOK_EQUAL, LOOK_ANY, LOOK_EQUAL, LOOK_ANY, LOOK_ANY};
	const LookKey by_thread[5] = {LOOK_EQUAL, LOOK_EQUAL, neither, LOOK_ANY, LOOK_ANY};
	const LookKey by_channel[5] = {LOOK_EQUAL, thread ? LOOK_NULL : LOOK_ANY, neither, LOOK_EQUAL, LOOK_ANY};
	const LookKey by_metric[5] = {LOOK_EQUAL, LOOK_ANY, LOOK_ANY, LOOK_ANY, LOOK_EQUAL};

	return (!request || look_near_by(policies, family, keys, by_request, snapshot)) &&
		   (!thread || look_near_by(policies, family, keys, by_thread, snapshot)) &&
		   (!contact || look_near_by(policies, family, keys, by_channel, snapshot)) &&
		   (!contact || !sla_channel_speaks(policies, moment->channel) ||
			look_near_by(policies, family, keys, by_metric, snapshot));
}

/* The same of all that the family's moments concern, each once, in place of those that it has. */
static bool
look_all_near(const SlaPolicies *policies, SlaFamily *family, const int64 *members, int count, Snapshot snapshot)
{
	int kept = 0;

	family->clock_count = 0;
	for (int i = 0; i < count; i++)
		for (int j = 0; j < family->moment_count; j++)
			if (!look_near(policies, family, members[i], family->moments[j], snapshot))
				return false;
	if (family->clock_count > 1)
		qsort(family->clocks, family->clock_count, sizeof(SlaClock *), compare_keys);
	for (int i = 0; i < family->clock_count; i++)
		if (i == 0 || compare_keys(&family->clocks[i], &family->clocks[kept - 1]) != 0)
			family->clocks[kept++] = family->clocks[i];
	family->clock_count = kept;
	return true;
}

/* The family's open clocks, or of many those that its moments concern; returns false where they are not to be had. */
static bool
look_family(const SlaPolicies *policies, SlaFamily *family, const int64 *members, int count, Snapshot snapshot)
{
	for (int i = 0; i < count; i++)
		if (!look_open_clocks(policies, family, members[i], snapshot))
			return false;
	return family->clock_count <= SLA_MANY_CLOCKS || look_all_near(policies, family, members, count, snapshot);
}

/* Locks the families' clocks, and reads them as they are then. Needs an SPI scope. */
static void
hold_found(const SlaPolicies *policies, SlaFamily *families, int count)
{
	SlaColumn found[3] = {{.type = INT8OID}, {.type = INT8OID}, {.type = INT8OID}};
	Datum values[3];

	for (int i = 0; i < count; i++)
	{
		SlaFamily *family = &families[i];

		if (family->clock_count > 1)
			qsort(family->clocks, family->clock_count, sizeof(SlaClock *), compare_keys);
		for (int j = 0; j < family->clock_count; j++)
		{
			sla_column_add_id(&found[0], family->root);
			sla_column_add_id(&found[1], family->clocks[j]->customer_id);
			sla_column_add_id(&found[2], family->clocks[j]->clock_id);
		}
		family->clock_count = 0;
	}
	if (found[0].count == 0)
		return;
	for (int i = 0; i < 3; i++)
		values[i] = sla_column_array(&found[i]);
	take_rows(policies, families, count, kept_plan_run(&found_hold, values, NULL, false, 0), false);
}

/* Reads and locks the open clocks that the families' moments may move, or more of them. Needs an SPI scope. */
static void
hold_open(const SlaPolicies *policies, SlaFamily *families, int count, bool alone)
{
	Datum values[1] = {sla_roots_array(families, count)};
	uint64 rows = alone ? (uint64) count : kept_plan_run(&members_read, values, NULL, false, 0);
	SlaFamily *family = families;
	int64 *members = palloc(sizeof(int64) * Max(rows, 1));
	bool found = true;
	int first = 0;

	for (uint64 i = 0; i < rows; i++)
		members[i] = alone ? families[i].root : spi_id(i, 2);
	for (uint64 i = 0; i < rows && found; i++)
		if (i + 1 == rows || (alone ? families[i + 1].root : spi_id(i + 1, 1)) != family->root)
		{
			found = look_family(policies, family, members + first, (int) i + 1 - first, NULL);
			first = (int) i + 1;
			family++;
		}
	if (!alone)
		SPI_freetuptable(SPI_tuptable);
	if (found)
	{
		hold_found(policies, families, count);
		return;
	}
	for (int i = 0; i < count; i++)
		families[i].clock_count = 0;
	take_rows(policies, families, count, kept_plan_run(&open_hold, values, NULL, false, 0), false);
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
	KeptPlan *const plans[] = {NULL, &clocks_hold, &clocks_try, &clocks_read};
	Datum values[1];

	if (read == SLA_HOLD_OPEN)
	{
		hold_open(policies, families, count, false);
		return;
	}
	values[0] = sla_roots_array(families, count);
	take_rows(policies, families, count, kept_plan_run(plans[read], values, NULL, false, 0), true);
}

/* sla_clocks_own does what SLA_HOLD_OPEN does, for a customer who stands alone. Needs an SPI scope. */
void
sla_clocks_own(const SlaPolicies *policies, SlaFamily *family)
{
	hold_open(policies, family, 1, true);
}

/*
 * sla_clocks_look does what sla_clocks_own() does without locks and SQL: as the active snapshot has them, with their
 * places. Returns false, with the family as it was, where that is not to be had, or there are many.
 */
bool
sla_clocks_look(const SlaPolicies *policies, SlaFamily *family)
{
	Assert(family->clock_count == 0);
	if (!look_open_clocks(policies, family, family->root, GetActiveSnapshot()))
		return false;
	if (family->clock_count > SLA_MANY_CLOCKS)
	{
		family->clock_count = 0;
		return false;
	}
	if (family->clock_count > 1)
		qsort(family->clocks, family->clock_count, sizeof(SlaClock *), compare_keys);
	return true;
}

/*
 * Reads the open clocks that the moments of a customer who stands alone concern, or more of them, as the active
 * snapshot has them. Needs an SPI scope.
 */
void
sla_clocks_near(const SlaPolicies *policies, SlaFamily *family)
{
	Datum values[1] = {sla_roots_array(family, 1)};

	if (look_all_near(policies, family, &family->root, 1, GetActiveSnapshot()))
		return;
	family->clock_count = 0;
	take_rows(policies, family, 1, kept_plan_run(&open_read, values, NULL, true, 0), false);
}
