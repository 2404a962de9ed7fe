/*
 * relationship_sum.c
 *	  Many contacts counted together.
 *
 * A statement that logs a million contacts counts them in memory, and writes each pair of customer and agent once: to
 * write a row again in the same transaction leaves a dead version each time, and what the server must remember of these
 * grows with their number. Pairs that would take more than work_mem are written in between.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/int.h"
#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/timestamp.h"

#include "omnichannel.h"
#include "core/direct.h"
#include "routing/relationship.h"
#include "routing/routing.h"

/* What a pair takes in memory, with its place in the hash table, and how many a statement writes where it takes one. */
#define PAIR_BYTES 80
#define PAIRS_AT_ONCE 1000

typedef struct Pair
{
	int64 customer_id;
	int64 agent_id;
} Pair;

/* The contacts of a pair; strength is as of the last. */
typedef struct PairSum
{
	Pair pair;
	int64 contacts;
	double strength;
	TimestampTz first_at;
	TimestampTz last_at;
} PairSum;

struct RelationshipSums
{
	MemoryContext context;
	HTAB *pairs;
	HTAB *agents; /* that there are */
	double half_life;
};

static const DirectTable relationship_table = {
	.name = "relationship",
	.purpose = DIRECT_PUT,
	.nkeys = 2,
	.ncolumns = RELATIONSHIP_COLUMNS,
	.columns = relationship_columns,
};

/* The sums of many contacts; what is kept and what comes are both aged to the later of their moments. */
static KeptPlan relationships_insert = {
	.sql = "INSERT INTO omnichannel.relationship AS r "
		   "(customer_id, agent_id, contacts, strength, aged_at, first_at, last_at) "
		   "SELECT u.customer_id, u.agent_id, u.contacts, u.strength, u.last_at, u.first_at, u.last_at "
		   "FROM unnest($1, $2, $3, $4, $5, $6) AS u (customer_id, agent_id, contacts, strength, first_at, last_at) "
		   "ON CONFLICT (customer_id, agent_id) DO UPDATE SET contacts = r.contacts + excluded.contacts, "
		   "strength = omnichannel.relationship_strength(r.strength, r.aged_at, excluded.aged_at) "
		   "+ omnichannel.relationship_strength(excluded.strength, excluded.aged_at, r.aged_at), "
		   "aged_at = greatest(r.aged_at, excluded.aged_at), first_at = least(r.first_at, excluded.first_at), "
		   "last_at = greatest(r.last_at, excluded.last_at)",
	.nargs = 6,
	.argtypes = {INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, FLOAT8ARRAYOID, TIMESTAMPTZARRAYOID, TIMESTAMPTZARRAYOID},
	.indexed = true,
};

/* The first of the agents, which are sorted, that there is not. */
static KeptPlan agent_missing = {
	.sql = "SELECT u.agent_id FROM unnest($1) WITH ORDINALITY AS u (agent_id, place) WHERE NOT EXISTS "
		   "(SELECT FROM omnichannel.agent AS a WHERE a.agent_id = u.agent_id OFFSET 0) ORDER BY u.place LIMIT 1",
	.nargs = 1,
	.argtypes = {INT8ARRAYOID},
	.indexed = true,
};

/* Makes the table of pairs, empty. */
static void
make_pairs(RelationshipSums *sums)
{
	HASHCTL control = {.keysize = sizeof(Pair), .entrysize = sizeof(PairSum), .hcxt = sums->context};

	sums->pairs = hash_create("omnichannel relationships", 256, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* Begins to count, in the current context. */
RelationshipSums *
relationship_sums_begin(void)
{
	RelationshipSums *sums = palloc0(sizeof(RelationshipSums));
	HASHCTL control = {.keysize = sizeof(int64), .entrysize = sizeof(int64)};

	sums->context = AllocSetContextCreate(CurrentMemoryContext, "omnichannel relationships", ALLOCSET_DEFAULT_SIZES);
	control.hcxt = sums->context;
	sums->agents = hash_create("omnichannel agents", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	make_pairs(sums);
	return sums;
}

/* Orders ids. For qsort of datums. */
static int
compare_ids(const void *a, const void *b)
{
	int64 left = DatumGetInt64(*(const Datum *) a);
	int64 right = DatumGetInt64(*(const Datum *) b);

	return left < right ? -1 : left > right;
}

/* Raises 23503 where one of the agents does not exist; those that were found before are not looked for again. */
static void
check_agents(RelationshipSums *sums, const RelationshipTouch *touches, int count)
{
	Datum *ids = palloc(sizeof(Datum) * count);
	Datum values[1];
	bool isnull;
	int unknown = 0;

	for (int i = 0; i < count; i++)
		if (hash_search(sums->agents, &touches[i].agent_id, HASH_FIND, NULL) == NULL)
		{
			(void) hash_search(sums->agents, &touches[i].agent_id, HASH_ENTER, NULL);
			ids[unknown++] = Int64GetDatum(touches[i].agent_id);
		}
	if (unknown == 0)
		return;
	qsort(ids, unknown, sizeof(Datum), compare_ids);
	values[0] = array_of(ids, NULL, unknown, INT8OID);
	if (kept_plan_run(&agent_missing, values, NULL, false, 1) > 0)
		relationship_without_agent(DatumGetInt64(spi_datum(0, 1, &isnull)));
}

/* Counts a contact; returns whether there is no room for more pairs. */
static bool
count_touch(RelationshipSums *sums, const RelationshipTouch *touch)
{
	Pair pair = {touch->customer_id, touch->agent_id};
	bool found;
	PairSum *sum = hash_search(sums->pairs, &pair, HASH_ENTER, &found);

	if (!found)
	{
		sum->contacts = 1;
		sum->strength = 1;
		sum->first_at = sum->last_at = touch->at;
		return hash_get_num_entries(sums->pairs) >= work_mem * 1024L / PAIR_BYTES;
	}
	sum->contacts++;
	if (touch->at >= sum->last_at)
		sum->strength = sum->strength * relationship_aged(sum->last_at, touch->at, sums->half_life) + 1;
	else
		sum->strength += relationship_aged(touch->at, sum->last_at, sums->half_life);
	sum->first_at = Min(sum->first_at, touch->at);
	sum->last_at = Max(sum->last_at, touch->at);
	return false;
}

/*
 * relationship_sums_add counts contacts as relationship_touch() does; what it counted is written by
 * relationship_sums_write(), and before where it becomes much.
 *
 * Needs an SPI scope that may write relationship, always of the same rights. Raises as relationship_touch() does.
 */
void
relationship_sums_add(RelationshipSums *sums, const RelationshipTouch *touches, int count)
{
	if (count == 0)
		return;
	for (int i = 0; i < count; i++)
		relationship_check_time(touches[i].at);
	check_agents(sums, touches, count);
	sums->half_life = relationship_half_life();
	for (int i = 0; i < count; i++)
		if (count_touch(sums, &touches[i]))
			relationship_sums_write(sums);
}

/* Orders by customer and agent, so that writers that meet do not lock up. For qsort of pointers. */
static int
compare_pairs(const void *a, const void *b)
{
	const Pair *left = &(*(PairSum *const *) a)->pair;
	const Pair *right = &(*(PairSum *const *) b)->pair;

	if (left->customer_id != right->customer_id)
		return left->customer_id < right->customer_id ? -1 : 1;
	return left->agent_id < right->agent_id ? -1 : left->agent_id > right->agent_id;
}

/* What is counted, and how it fades. */
typedef struct SumEdit
{
	const PairSum *sum;
	double half_life;
} SumEdit;

/* Returns a strength as of a later time; as of an earlier one as it is. */
static double
strength_at(double strength, TimestampTz from, TimestampTz to, double half_life)
{
	return to <= from ? strength : strength * relationship_aged(from, to, half_life);
}

/* Adds what was counted to a row of relationship_table. */
static void
add_sum(Datum *values, bool *nulls, void *arg)
{
	const SumEdit *edit = arg;
	const PairSum *sum = edit->sum;
	double strength = DatumGetFloat8(values[3]);
	TimestampTz aged_at = DatumGetTimestampTz(values[4]);
	int64 contacts;

	if (pg_add_s64_overflow(DatumGetInt64(values[2]), sum->contacts, &contacts))
		ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE), errmsg("bigint out of range")));
	values[2] = Int64GetDatum(contacts);
	values[3] = Float8GetDatum(strength_at(strength, aged_at, sum->last_at, edit->half_life) +
							   strength_at(sum->strength, sum->last_at, aged_at, edit->half_life));
	values[4] = TimestampTzGetDatum(Max(aged_at, sum->last_at));
	values[5] = TimestampTzGetDatum(Min(DatumGetTimestampTz(values[5]), sum->first_at));
	values[6] = TimestampTzGetDatum(Max(DatumGetTimestampTz(values[6]), sum->last_at));
}

/* Writes sums without SQL; returns false where SQL is asked for. */
static bool
write_directly(PairSum **sums, long count, double half_life)
{
	DirectWrite *write = direct_open(&relationship_table);

	if (write == NULL)
		return false;
	for (long i = 0; i < count; i++)
	{
		const PairSum *sum = sums[i];
		SumEdit edit = {sum, half_life};
		Datum values[7] = {Int64GetDatum(sum->pair.customer_id), Int64GetDatum(sum->pair.agent_id),
						   Int64GetDatum(sum->contacts),         Float8GetDatum(sum->strength),
						   TimestampTzGetDatum(sum->last_at),    TimestampTzGetDatum(sum->first_at),
						   TimestampTzGetDatum(sum->last_at)};

		direct_put(write, values, NULL, add_sum, &edit);
	}
	direct_close(write);
	return true;
}

/* Writes up to PAIRS_AT_ONCE sums by a statement. */
static void
write_by_statement(PairSum **sums, int count)
{
	static const Oid types[6] = {INT8OID, INT8OID, INT8OID, FLOAT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID};
	Datum *columns[6];
	Datum values[6];

	for (int i = 0; i < 6; i++)
		columns[i] = palloc(sizeof(Datum) * count);
	for (int i = 0; i < count; i++)
	{
		columns[0][i] = Int64GetDatum(sums[i]->pair.customer_id);
		columns[1][i] = Int64GetDatum(sums[i]->pair.agent_id);
		columns[2][i] = Int64GetDatum(sums[i]->contacts);
		columns[3][i] = Float8GetDatum(sums[i]->strength);
		columns[4][i] = TimestampTzGetDatum(sums[i]->first_at);
		columns[5][i] = TimestampTzGetDatum(sums[i]->last_at);
	}
	for (int i = 0; i < 6; i++)
	{
		values[i] = array_of(columns[i], NULL, count, types[i]);
		pfree(columns[i]);
	}
	(void) kept_plan_run(&relationships_insert, values, NULL, false, 0);
	for (int i = 0; i < 6; i++)
		pfree(DatumGetPointer(values[i]));
}

/* Writes what was counted, and begins again with nothing. Needs an SPI scope as relationship_sums_add() does. */
void
relationship_sums_write(RelationshipSums *sums)
{
	long count = hash_get_num_entries(sums->pairs);
	PairSum **sorted;
	HASH_SEQ_STATUS status;
	long found = 0;

	if (count == 0)
		return;
	sorted = palloc(sizeof(PairSum *) * count);
	hash_seq_init(&status, sums->pairs);
	while ((sorted[found] = hash_seq_search(&status)) != NULL)
		if (++found == count)
		{
			hash_seq_term(&status);
			break;
		}
	qsort(sorted, count, sizeof(PairSum *), compare_pairs);
	if (!write_directly(sorted, count, sums->half_life))
		for (long i = 0; i < count; i += PAIRS_AT_ONCE)
			write_by_statement(&sorted[i], (int) Min(count - i, PAIRS_AT_ONCE));
	pfree(sorted);
	hash_destroy(sums->pairs);
	make_pairs(sums);
}

/*
 * relationships_touch counts many contacts as relationship_touch() does one after the other.
 *
 * Allocates in the current context. Needs an SPI scope and raises as relationship_touch() does.
 */
void
relationships_touch(const RelationshipTouch *touches, int count)
{
	RelationshipSums *sums;

	if (count == 1)
		relationship_touch(touches->customer_id, touches->agent_id, touches->at);
	if (count <= 1)
		return;
	sums = relationship_sums_begin();
	relationship_sums_add(sums, touches, count);
	relationship_sums_write(sums);
}
