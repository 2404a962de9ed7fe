/*
 * relationship.c
 *	  How well agents know customers: contacts counted, and aged in one step a contact.
 *
 * The strength is a sum of contacts, each halved for every half-life that has passed since. Kept with the moment that
 * it holds for, it takes a new contact without a look at the old ones, and a late one counts as if it had come in
 * order.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "common/int.h"
#include "utils/array.h"
#include "utils/timestamp.h"

#include "omnichannel.h"
#include "core/row.h"
#include "routing/relationship.h"
#include "routing/routing.h"

SQL_FUNCTION(omnichannel_relationship_strength);
SQL_FUNCTION(omnichannel_relationship_with);

/* So many half-lives leave nothing that could matter. */
#define MANY_HALF_LIVES 1000.0

typedef struct RelationshipSetting
{
	double half_life; /* seconds */
} RelationshipSetting;

static void *relationship_build(ConfigCache *cache, MemoryContext context);

static ConfigCache relationship_cache = {
	.name = "relationship", .tables = {"routing_setting"}, .build = relationship_build};

static KeptPlan setting_select = {
	.sql = "SELECT extract(epoch FROM relationship_half_life)::float8 FROM omnichannel.routing_setting",
};

static KeptPlan relationship_update = {
	.sql = "UPDATE omnichannel.relationship AS r "
		   "SET contacts = r.contacts + 1, "
		   "strength = omnichannel.relationship_with(r.strength, r.aged_at, $3, $4), "
		   "aged_at = greatest(r.aged_at, $3), first_at = least(r.first_at, $3), last_at = greatest(r.last_at, $3) "
		   "WHERE r.customer_id = $1 AND r.agent_id = $2",
	.nargs = 4,
	.argtypes = {INT8OID, INT8OID, TIMESTAMPTZOID, FLOAT8OID},
	.indexed = true,
};

static KeptPlan relationship_insert = {
	.sql = "INSERT INTO omnichannel.relationship AS r "
		   "(customer_id, agent_id, contacts, strength, aged_at, first_at, last_at) VALUES ($1, $2, 1, 1, $3, $3, $3) "
		   "ON CONFLICT (customer_id, agent_id) DO UPDATE SET contacts = r.contacts + 1, "
		   "strength = omnichannel.relationship_with(r.strength, r.aged_at, $3, $4), "
		   "aged_at = greatest(r.aged_at, $3), first_at = least(r.first_at, $3), last_at = greatest(r.last_at, $3)",
	.nargs = 4,
	.argtypes = {INT8OID, INT8OID, TIMESTAMPTZOID, FLOAT8OID},
	.indexed = true,
};

/* Its share of the strength is what is left of one by now. */
static KeptPlan relationship_take = {
	.sql = "UPDATE omnichannel.relationship AS r SET contacts = r.contacts - 1, "
		   "strength = greatest(r.strength - omnichannel.relationship_strength(1, $3, r.aged_at), 0) "
		   "WHERE r.customer_id = $1 AND r.agent_id = $2 RETURNING r.contacts",
	.nargs = 3,
	.argtypes = {INT8OID, INT8OID, TIMESTAMPTZOID},
	.indexed = true,
};

static KeptPlan relationship_end = {
	.sql = "DELETE FROM omnichannel.relationship WHERE customer_id = $1 AND agent_id = $2 AND contacts <= 0",
	.nargs = 2,
	.argtypes = {INT8OID, INT8OID},
	.indexed = true,
};

const TableColumn relationship_columns[RELATIONSHIP_COLUMNS] = {
	{"customer_id", INT8OID},    {"agent_id", INT8OID},        {"contacts", INT8OID},       {"strength", FLOAT8OID},
	{"aged_at", TIMESTAMPTZOID}, {"first_at", TIMESTAMPTZOID}, {"last_at", TIMESTAMPTZOID},
};

static LookUp relationship_look = {
	.table = "relationship",
	.nkeys = 2,
	.for_change = true,
	.ncolumns = RELATIONSHIP_COLUMNS,
	.columns = relationship_columns,
};

static RowTable relationship_row = {
	.name = "relationship",
	.change = true,
	.ncolumns = RELATIONSHIP_COLUMNS - 2,
	.columns = relationship_columns + 2,
};

static KeptPlan agent_select = {
	.sql = "SELECT FROM omnichannel.agent WHERE agent_id = $1",
	.nargs = 1,
	.argtypes = {INT8OID},
};

/* Reads the half-life; raises 55000 where its row is gone. */
static void *
relationship_build(ConfigCache *cache, MemoryContext context)
{
	RelationshipSetting *setting = MemoryContextAlloc(context, sizeof(RelationshipSetting));
	bool isnull;

	if (kept_plan_run(&setting_select, NULL, NULL, true, 1) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the table \"omnichannel.routing_setting\" is empty"),
				 errhint("INSERT INTO omnichannel.routing_setting DEFAULT VALUES makes its row again.")));
	setting->half_life = DatumGetFloat8(spi_datum(0, 1, &isnull));
	return setting;
}

/* Returns how many seconds leave half of a contact's weight. */
double
relationship_half_life(void)
{
	const RelationshipSetting *setting = config_cache_get(&relationship_cache);

	return setting->half_life;
}

/* Returns what is left of one after so many microseconds. */
double
relationship_aged(TimestampTz from, TimestampTz to, double half_life)
{
	double half_lives = ((double) to - (double) from) / USECS_PER_SEC / half_life;

	return exp2(-Min(half_lives, MANY_HALF_LIVES));
}

/* Raises 22008 for an infinite time. */
void
relationship_check_time(TimestampTz at)
{
	if (TIMESTAMP_NOT_FINITE(at))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("a contact cannot happen at an infinite time"),
				 errhint("Give the time at which the contact happened.")));
}

/* Raises 23503. */
void
relationship_without_agent(int64 agent_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
			 errmsg("agent " INT64_FORMAT " does not exist", agent_id),
			 errhint("Insert it into omnichannel.agent, or log the contact without an agent.")));
}

/* Returns a strength with one more contact, as of the later time. */
static double
strength_with(double strength, TimestampTz aged_at, TimestampTz at, double half_life)
{
	if (at >= aged_at)
		return strength * relationship_aged(aged_at, at, half_life) + 1;
	return strength + relationship_aged(at, aged_at, half_life);
}

/* Counts a contact in the row that there is; returns false, having done nothing, where a statement must. */
static bool
touch_row(Datum *keys, TimestampTz at, double half_life)
{
	LookScan scan;
	Datum row[7];
	bool nulls[7];
	bool done = false;

	if (!look_begin(&scan, &relationship_look, keys, 2, NULL))
		return false;
	if (look_next(&scan, false, row, nulls))
	{
		TimestampTz aged_at = DatumGetTimestampTz(row[4]);
		int64 contacts;
		Datum values[5] = {(Datum) 0, Float8GetDatum(strength_with(DatumGetFloat8(row[3]), aged_at, at, half_life)),
						   TimestampTzGetDatum(Max(aged_at, at)),
						   TimestampTzGetDatum(Min(DatumGetTimestampTz(row[5]), at)),
						   TimestampTzGetDatum(Max(DatumGetTimestampTz(row[6]), at))};

		if (!pg_add_s64_overflow(DatumGetInt64(row[2]), 1, &contacts))
		{
			values[0] = Int64GetDatum(contacts);
			done = row_change(&relationship_row, &scan, values, NULL);
		}
	}
	look_end(&scan);
	return done;
}

/*
 * relationship_touch counts a contact between the two at that time; any order of times gives the same.
 *
 * Needs an SPI scope that may write relationship. Raises 23503 for an unknown agent, 22008 for an infinite time.
 */
void
relationship_touch(int64 customer_id, int64 agent_id, TimestampTz at)
{
	const RelationshipSetting *setting;
	Datum values[4];

	relationship_check_time(at);
	setting = config_cache_get(&relationship_cache);
	values[0] = Int64GetDatum(customer_id);
	values[1] = Int64GetDatum(agent_id);
	values[2] = TimestampTzGetDatum(at);
	values[3] = Float8GetDatum(setting->half_life);
	if (touch_row(values, at, setting->half_life) || kept_plan_run(&relationship_update, values, NULL, false, 0) > 0)
		return;

	if (kept_plan_run(&agent_select, &values[1], NULL, false, 1) == 0)
		relationship_without_agent(agent_id);
	(void) kept_plan_run(&relationship_insert, values, NULL, false, 0);
}

/* Takes a contact that was counted between the two back; the times of the first and the last one stay. */
static void
relationship_untouch(int64 customer_id, int64 agent_id, TimestampTz at)
{
	Datum values[3] = {Int64GetDatum(customer_id), Int64GetDatum(agent_id), TimestampTzGetDatum(at)};
	bool isnull;

	if (kept_plan_run(&relationship_take, values, NULL, false, 0) > 0 && DatumGetInt64(spi_datum(0, 1, &isnull)) <= 0)
		(void) kept_plan_run(&relationship_end, values, NULL, false, 0);
}

/*
 * relationship_move counts a contact of that time, which was counted between the customer and one agent, between the
 * customer and another instead; 0 stands for no agent. Those that meet do not lock up.
 *
 * Needs an SPI scope that may write relationship. Raises as relationship_touch() does.
 */
void
relationship_move(int64 customer_id, int64 from_agent, int64 to_agent, TimestampTz at)
{
	if (from_agent == to_agent)
		return;
	if (from_agent != 0 && (to_agent == 0 || from_agent < to_agent))
		relationship_untouch(customer_id, from_agent, at);
	if (to_agent != 0)
		relationship_touch(customer_id, to_agent, at);
	if (from_agent != 0 && to_agent != 0 && from_agent > to_agent)
		relationship_untouch(customer_id, from_agent, at);
}

/* relationship_with(strength, aged_at, at, half_life): the strength with one more contact, as of the later time. */
Datum
omnichannel_relationship_with(PG_FUNCTION_ARGS)
{
	double strength = PG_GETARG_FLOAT8(0);
	TimestampTz aged_at = PG_GETARG_TIMESTAMPTZ(1);
	TimestampTz at = PG_GETARG_TIMESTAMPTZ(2);
	double half_life = PG_GETARG_FLOAT8(3);

	if (!(half_life > 0))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("half-life must be positive, not %g", half_life),
				 errhint("Give it in seconds.")));
	PG_RETURN_FLOAT8(strength_with(strength, aged_at, at, half_life));
}

/* Returns a relationship's strength as of a later time. */
double
relationship_strength_at(double strength, TimestampTz aged_at, TimestampTz at)
{
	const RelationshipSetting *setting = config_cache_get(&relationship_cache);

	return at <= aged_at ? strength : strength * relationship_aged(aged_at, at, setting->half_life);
}

/* relationship_strength(strength, aged_at, at): the same for SQL. */
Datum
omnichannel_relationship_strength(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(relationship_strength_at(PG_GETARG_FLOAT8(0), PG_GETARG_TIMESTAMPTZ(1), PG_GETARG_TIMESTAMPTZ(2)));
}
