/*
 * members.c
 *	  Who is in which segments when, read on demand and kept, and the audiences that follow.
 *
 * A customer's entry holds all memberships with their times, of the customer and of those merged into it, and remembers
 * the audience found last with the time for which it holds.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/hsearch.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "core/look.h"
#include "pricing/pricing.h"

typedef struct Membership
{
	int segment;
	Span valid;
} Membership;

typedef struct Member
{
	int64 customer_id; /* the hash key */
	int nmemberships;
	Membership *memberships;
	const AudienceSet *audience; /* found last, or NULL */
	Span audience_valid;
} Member;

typedef struct MemberCache
{
	MemoryContext parent;
	MemoryContext context;
	HTAB *members;
	uint64 rules_generation;
} MemberCache;

/* Memberships of which a customer mostly has fewer. */
#define FEW_MEMBERSHIPS 64

typedef struct MemberJob
{
	MemberCache *cache;
	PriceRules *rules;
	int64 customer_id;
	Membership *memberships; /* being gathered, in passing memory */
	int space;
	int nmemberships;
	Member *member;
	Datum customers; /* whose memberships are to be gathered for passing use, as bigint[] */
	MemoryContext passing;
} MemberJob;

static void *members_build(ConfigCache *cache, MemoryContext context);

static ConfigCache member_cache = {
	.name = "segment_member", .tables = {"segment_member", "customer"}, .build = members_build};

/* Nearly all customers were never merged: one look-up each, and whether there is more to it. */
static KeptPlan members_select = {
	.sql = "SELECT m.segment, m.valid, c.merged_into IS NOT NULL OR EXISTS"
		   " (SELECT FROM omnichannel.customer d WHERE d.merged_into = c.customer_id)"
		   " FROM omnichannel.customer c LEFT JOIN omnichannel.segment_member m ON m.customer_id = c.customer_id"
		   " WHERE c.customer_id = $1",
	.nargs = 1,
	.argtypes = {INT8OID},
};

static KeptPlan merged_select = {
	.sql = "SELECT m.segment, m.valid FROM omnichannel.customer c JOIN omnichannel.customer d"
		   " ON d.customer_id = coalesce(c.merged_into, c.customer_id)"
		   " OR d.merged_into = coalesce(c.merged_into, c.customer_id)"
		   " JOIN omnichannel.segment_member m ON m.customer_id = d.customer_id WHERE c.customer_id = $1",
	.nargs = 1,
	.argtypes = {INT8OID},
};

static KeptPlan group_select = {
	.sql = "SELECT m.segment, m.valid FROM omnichannel.segment_member m WHERE m.customer_id = ANY ($1)",
	.nargs = 1,
	.argtypes = {INT8ARRAYOID},
};

static const TableColumn customer_columns[] = {{"customer_id", INT8OID}};

static LookUp customer_look = {.table = "customer", .nkeys = 1, .keys = customer_columns, .for_cache = true};

/* Who was merged into another, and who had others merged into them. */
static LookUp merged_look = {
	.table = "customer",
	.nkeys = 1,
	.keys = customer_columns,
	.where = INDEX_NOT_NULL,
	.where_column = "merged_into",
	.for_cache = true,
};

static LookUp keeper_look = {
	.table = "customer", .nkeys = 1, .keys = (const TableColumn[]){{"merged_into", INT8OID}}, .for_cache = true};

static LookUp member_look = {
	.table = "segment_member",
	.nkeys = 1,
	.keys = customer_columns,
	.for_cache = true,
	.ncolumns = 2,
	.columns = (const TableColumn[]){{"segment", TEXTOID}, {"valid", TSTZRANGEOID}},
};

static void *
members_build(ConfigCache *config, MemoryContext context)
{
	MemberCache *cache = MemoryContextAllocZero(context, sizeof(MemberCache));

	cache->parent = context;
	return cache;
}

static void
member_cache_open(MemberCache *cache, PriceRules *rules)
{
	HASHCTL control = {.keysize = sizeof(int64), .entrysize = sizeof(Member)};
	MemoryContext context = AllocSetContextCreate(cache->parent, "omnichannel members", ALLOCSET_DEFAULT_SIZES);

	control.hcxt = context;
	cache->members = hash_create("omnichannel members", 256, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	cache->rules_generation = rules->generation;
	cache->context = context;
}

/* Returns what was gathered where there is room for more. */
static pg_noinline Membership *
more_memberships(MemberJob *job)
{
	Membership *more = MemoryContextAllocHuge(CurrentMemoryContext, mul_size(job->space, 2 * sizeof(Membership)));

	memcpy(more, job->memberships, job->nmemberships * sizeof(Membership));
	job->space *= 2;
	return more;
}

/* Adds a membership, unless its segment is too new for the rules: their message is due. */
static pg_attribute_always_inline void
gather_membership(MemberJob *job, Datum segment, Datum valid)
{
	int number = segment_find_value(job->rules, segment);

	if (number < 0)
		return;
	if (unlikely(job->nmemberships == job->space))
		job->memberships = more_memberships(job);
	job->memberships[job->nmemberships++] = (Membership){number, span_from_range(valid)};
}

/* Keeps what was gathered as the customer's entry. */
static void
keep_member(MemberJob *job)
{
	MemberCache *cache = job->cache;
	Membership *memberships =
		MemoryContextAllocHuge(cache->context, mul_size(Max(job->nmemberships, 1), sizeof(Membership)));
	Member *member;

	memcpy(memberships, job->memberships, job->nmemberships * sizeof(Membership));
	member = hash_search(cache->members, &job->customer_id, HASH_ENTER, NULL);
	member->nmemberships = job->nmemberships;
	member->memberships = memberships;
	member->audience = NULL;
	job->member = member;
}

/* Reads a customer's memberships by statements. */
static void
select_member(MemberJob *job)
{
	Datum argument = Int64GetDatum(job->customer_id);
	uint64 n = kept_plan_run(&members_select, &argument, NULL, true, 0);
	bool isnull;

	if (n == 0)
		return;
	if (DatumGetBool(spi_datum(0, 3, &isnull)))
		n = kept_plan_run(&merged_select, &argument, NULL, true, 0);
	for (uint64 i = 0; i < n; i++)
	{
		Datum segment = spi_datum(i, 1, &isnull);

		if (!isnull)
			gather_membership(job, segment, spi_datum(i, 2, &isnull));
	}
	keep_member(job);
}

/* Goes on in the table by another look-up, or opens it; returns false where a statement is to be run. */
static bool
turn_or_open(LookScan *scan, LookUp *look)
{
	return look_turn(scan, look, 1) || look_open(scan, look, 1, GetActiveSnapshot());
}

/* Looks for a row by the value of an open scan. */
static bool
is_found(LookScan *scan, Datum key)
{
	look_find(scan, &key);
	return look_next(scan, false, NULL, NULL);
}

/* Looks whether the customer was merged, or had others merged; returns false where a statement is to be run. */
static bool
scan_merges(Datum key, bool *merged)
{
	LookScan scan;

	if (!look_open(&scan, &merged_look, 1, GetActiveSnapshot()))
		return false;
	*merged = is_found(&scan, key);
	if (!*merged)
	{
		if (!turn_or_open(&scan, &keeper_look))
			return false;
		*merged = is_found(&scan, key);
	}
	look_end(&scan);
	return true;
}

/*
 * Does what select_member() does through the indexes; false where it cannot be done so, as of a merged customer.
 *
 * Whoever has memberships is known: a foreign key sees to that.
 */
static bool
scan_member(MemberJob *job)
{
	Datum key = Int64GetDatum(job->customer_id);
	LookScan scan;
	Datum values[LOOK_ROWS * 2];
	bool nulls[LOOK_ROWS * 2];
	int n;
	bool found;

	if (!scan_merges(key, &found) || found || !look_begin(&scan, &member_look, &key, 1, GetActiveSnapshot()))
		return false;
	while ((n = look_next_rows(&scan, values, nulls)) > 0)
	{
		for (int i = 0; i < n; i++)
			gather_membership(job, values[2 * i], values[2 * i + 1]);
		found = true;
	}
	look_end(&scan);
	if (!found)
	{
		if (!look_begin(&scan, &customer_look, &key, 1, GetActiveSnapshot()))
			return false;
		found = look_next(&scan, false, NULL, NULL);
		look_end(&scan);
	}
	if (found)
		keep_member(job);
	return true;
}

/* Gathers the memberships of job->customers, in memory of job->passing. */
static void
group_load(ConfigCache *config, void *arg)
{
	MemberJob *job = arg;
	Membership *memberships;
	SpiScope scope;
	uint64 n;

	spi_scope_begin(&scope, config->fill_as_owner);
	n = kept_plan_run(&group_select, &job->customers, NULL, true, 0);
	for (uint64 i = 0; i < n; i++)
	{
		bool isnull;
		Datum segment = spi_datum(i, 1, &isnull);

		gather_membership(job, segment, spi_datum(i, 2, &isnull));
	}
	memberships = MemoryContextAllocHuge(job->passing, mul_size(Max(job->nmemberships, 1), sizeof(Membership)));
	memcpy(memberships, job->memberships, job->nmemberships * sizeof(Membership));
	job->memberships = memberships;
	spi_scope_end(&scope);
}

/* Reads a customer's memberships; leaves job->member NULL where the customer is not known. */
static void
member_load(ConfigCache *config, void *arg)
{
	SpiScope scope;

	if (config->fill_as_owner && scan_member(arg))
		return;
	spi_scope_begin(&scope, config->fill_as_owner);
	select_member(arg);
	spi_scope_end(&scope);
}

/*
 * customer_audience returns the audience that the customer belongs to at that time, and until when; without the
 * changes that were not seen, and where others were one with the customer, if there are any.
 *
 * NULL where the customer is not known. Good as long as the rules and until the next call. Raises 55000 before setup(),
 * 42501 for a role that may not read the tables.
 */
const AudienceSet *
customer_audience(PriceRules *rules, int64 customer_id, TimestampTz at, const Unseen *unseen, TimestampTz *until)
{
	MemberCache *cache = unconstify(MemberCache *, (const MemberCache *) config_cache_get(&member_cache));
	Member *member = NULL;
	const AudienceSet *audience;
	const Membership *memberships;
	int nmemberships;
	Span valid = {DT_NOBEGIN, DT_NOEND};
	int *segments;
	int nsegments = 0;
	bool kept;

	if (cache->context != NULL &&
		(cache->rules_generation != rules->generation ||
		 MemoryContextMemAllocated(cache->context, true) > (Size) price_cache_size * 1024 / 8))
	{
		MemoryContext context = cache->context;

		cache->context = NULL;
		config_cache_discard(context);
	}
	if (cache->context == NULL)
		member_cache_open(cache, rules);
	else
		member = hash_search(cache->members, &customer_id, HASH_FIND, NULL);

	if (member == NULL)
	{
		Membership few[FEW_MEMBERSHIPS];
		MemberJob job = {cache, rules, customer_id, few, lengthof(few)};

		config_cache_read(&member_cache, member_load, &job);
		member = job.member;
		if (member == NULL)
			return NULL;
	}
	if (member->audience != NULL && unseen == NULL && span_contains(&member->audience_valid, at))
	{
		*until = member->audience_valid.until;
		return member->audience;
	}

	memberships = member->memberships;
	nmemberships = member->nmemberships;
	if (unseen != NULL && unseen->customers != (Datum) 0)
	{
		Membership few[FEW_MEMBERSHIPS];
		MemberJob job = {NULL, rules, customer_id, few, lengthof(few)};

		job.customers = unseen->customers;
		job.passing = CurrentMemoryContext;
		config_cache_read(&member_cache, group_load, &job);
		memberships = job.memberships;
		nmemberships = job.nmemberships;
	}
	segments = palloc(Max(nmemberships, 1) * sizeof(int));
	for (int i = 0; i < nmemberships; i++)
	{
		const Membership *membership = &memberships[i];
		Span during = likely(unseen == NULL) ? membership->valid : span_without(unseen, membership->valid);

		if (likely(span_contains(&during, at)))
		{
			segments[nsegments++] = membership->segment;
			valid.from = Max(valid.from, during.from);
			valid.until = Min(valid.until, during.until);
		}
		else if (during.from > at)
			valid.until = Min(valid.until, during.from);
		else
			valid.from = Max(valid.from, during.until);
	}
	audience = audience_get(rules, segments, nsegments, &kept);
	pfree(segments);
	if (kept && unseen == NULL)
	{
		member->audience = audience;
		member->audience_valid = valid;
	}
	*until = valid.until;
	return audience;
}
