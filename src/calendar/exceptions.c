/*
 * exceptions.c
 *	  Exceptions of a calendar as they come from SQL: tsrange values, and arrays of calendar_span.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/rangetypes.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "compat.h"
#include "calendar/exceptions.h"

#define FIRST_CAPACITY 16

/* Returns a bound as the first moment inside (or, for an upper one, outside) the range. */
static int64
bound_time(const RangeBound *bound)
{
	int64 time;

	if (bound->infinite)
		return bound->lower ? INT64_MIN : INT64_MAX;
	time = DatumGetTimestamp(bound->val);
	if (TIMESTAMP_IS_NOBEGIN(time) || TIMESTAMP_IS_NOEND(time))
		return time;
	return bound->inclusive == bound->lower ? time : time + 1;
}

/* Adds a closure or an opening, a tsrange; an empty one adds nothing. */
void
span_set_add(SpanSet *set, Datum during, bool open)
{
	static TypeCacheEntry *type = NULL;
	RangeBound lower;
	RangeBound upper;
	TimeSpan span;
	bool empty;

	if (type == NULL)
		type = lookup_type_cache(TSRANGEOID, TYPECACHE_RANGE_INFO);
	range_deserialize(type, DatumGetRangeTypeP(during), &lower, &upper, &empty);
	if (empty)
		return;
	span = (TimeSpan){bound_time(&lower), bound_time(&upper)};

	if (set->counts[open] == set->capacities[open])
	{
		if (set->capacities[open] == 0)
		{
			set->capacities[open] = FIRST_CAPACITY;
			set->spans[open] = palloc(FIRST_CAPACITY * sizeof(TimeSpan));
		}
		else
		{
			set->capacities[open] *= 2;
			set->spans[open] = repalloc(set->spans[open], (Size) set->capacities[open] * sizeof(TimeSpan));
		}
	}
	set->spans[open][set->counts[open]++] = span;
}

/* Raises 22004 for an exception that is NULL or has a part that is. */
pg_noreturn static void
null_span(int number)
{
	ereport(ERROR,
			(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
			 errmsg("exception %d is NULL in whole or in part", number),
			 errhint("Give each as ROW(tsrange, open)::omnichannel.calendar_span.")));
}

/* Adds the elements of a calendar_span[]; raises 22004 for NULLs in it. */
void
span_set_add_array(SpanSet *set, ArrayType *array)
{
	Datum *elements;
	bool *nulls;
	int count;
	TupleDesc desc = NULL;

	deconstruct_array(array, ARR_ELEMTYPE(array), -1, false, TYPALIGN_DOUBLE, &elements, &nulls, &count);
	for (int i = 0; i < count; i++)
	{
		HeapTupleHeader row;
		HeapTupleData tuple;
		Datum values[2];
		bool isnull[2];

		CHECK_FOR_INTERRUPTS();
		if (nulls[i])
			null_span(i + 1);
		row = DatumGetHeapTupleHeader(elements[i]);
		if (desc == NULL)
			desc = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(row), HeapTupleHeaderGetTypMod(row));
		tuple.t_len = HeapTupleHeaderGetDatumLength(row);
		ItemPointerSetInvalid(&tuple.t_self);
		tuple.t_tableOid = InvalidOid;
		tuple.t_data = row;
		heap_deform_tuple(&tuple, desc, values, isnull);
		if (isnull[0] || isnull[1])
			null_span(i + 1);
		span_set_add(set, values[0], DatumGetBool(values[1]));
	}
	if (desc != NULL)
		ReleaseTupleDesc(desc);
}

/* Makes the set empty and keeps its room. */
void
span_set_clear(SpanSet *set)
{
	set->counts[0] = set->counts[1] = 0;
}

/* Copies the exceptions to context, as a timeline's rules. */
void
span_set_copy(MemoryContext context, const SpanSet *set, TimelineRules *rules)
{
	TimeSpan *copies[2];

	for (int open = 0; open < 2; open++)
	{
		copies[open] = MemoryContextAlloc(context, (Size) set->counts[open] * sizeof(TimeSpan) + 1);
		if (set->counts[open] > 0)
			memcpy(copies[open], set->spans[open], (Size) set->counts[open] * sizeof(TimeSpan));
	}
	rules->closures = copies[0];
	rules->closure_count = set->counts[0];
	rules->openings = copies[1];
	rules->opening_count = set->counts[1];
}
