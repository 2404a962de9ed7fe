/*
 * rules.c
 *	  Price lists, segments and currencies, read whole and kept, and who each list is for.
 *
 * Segments get numbers, so that who is in which is compared as numbers. For each set of segments met, a bit says for
 * each list whether it is for that set: a customer's fifty segments and a thousand lists are matched once.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "port/pg_bitutils.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/multirangetypes.h"
#include "utils/rangetypes.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "pricing/pricing.h"

/*
 * Sets kept before new ones are made for a call only, and places for them: each is a few dozen bytes and a bit a list.
 */
#define AUDIENCES_KEPT 4096
#define AUDIENCE_PLACES 8192

static void *rules_build(ConfigCache *cache, MemoryContext context);

static ConfigCache rules_cache = {.name = "price_rules",
								  .tables = {"price_list", "segment", "currency", "promotion", "omnibus_rule"},
								  .build = rules_build};

static KeptPlan segments_select = {.sql = "SELECT segment FROM omnichannel.segment"};

static KeptPlan currencies_select = {.sql =
										 "SELECT currency, coalesce(minor_units, 6)::int4 FROM omnichannel.currency"};

static KeptPlan lists_select = {
	.sql =
		"SELECT price_list, kind, status, priority, currency, segments_any, segments_all, valid, tax_inclusive, active"
		" FROM omnichannel.price_list ORDER BY price_list COLLATE \"C\"",
};

/*
 * Returns the half-open span that a tstzrange means; timestamps are whole microseconds, so any bound can be made so.
 *
 * Five are read with a product, so this does without range_deserialize(), which wants an aligned copy and the type's
 * cache entry. The form on disk: the type, the bounds that there are, and a byte of flags.
 */
Span
span_from_any(Datum range)
{
	const struct varlena *value = packed_value(range);
	const char *data = VARDATA_ANY(value);
	const char *bound = data + sizeof(Oid);
	char flags = data[VARSIZE_ANY_EXHDR(value) - 1];
	Span span = {DT_NOBEGIN, DT_NOEND};

	if (flags & RANGE_EMPTY)
	{
		span.until = DT_NOBEGIN;
		return span;
	}
	if (RANGE_HAS_LBOUND(flags))
	{
		memcpy(&span.from, bound, sizeof(TimestampTz));
		bound += sizeof(TimestampTz);
		if (!(flags & RANGE_LB_INC) && !TIMESTAMP_NOT_FINITE(span.from))
			span.from++;
	}
	if (RANGE_HAS_UBOUND(flags))
	{
		memcpy(&span.until, bound, sizeof(TimestampTz));
		if ((flags & RANGE_UB_INC) && !TIMESTAMP_NOT_FINITE(span.until))
			span.until++;
	}
	return span;
}

/* Returns whether one of the spans contains the moment; lowers *until to the next moment at which that changes. */
bool
spans_contain(const Spans *spans, TimestampTz at, TimestampTz *until)
{
	int low = 0;
	int high = spans->n;

	/* The first span that has not ended. */
	while (low < high)
	{
		int middle = low + (high - low) / 2;

		if (spans->spans[middle].until <= at)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == spans->n)
		return false;
	if (spans->spans[low].from > at)
	{
		*until = Min(*until, spans->spans[low].from);
		return false;
	}
	*until = Min(*until, spans->spans[low].until);
	return true;
}

/* Returns what spans that are in order of their starts cover, kept in context; empty ones cover nothing. */
Spans
spans_merged(const Spans *spans, MemoryContext context)
{
	Spans merged = {0, MemoryContextAllocHuge(context, mul_size(Max(spans->n, 1), sizeof(Span)))};

	for (int i = 0; i < spans->n; i++)
	{
		const Span *span = &spans->spans[i];

		if (span->until <= span->from)
			continue;
		if (merged.n > 0 && span->from <= merged.spans[merged.n - 1].until)
			merged.spans[merged.n - 1].until = Max(merged.spans[merged.n - 1].until, span->until);
		else
			merged.spans[merged.n++] = *span;
	}
	return merged;
}

/* Returns the span over a whole tstzmultirange; *pauses, kept in context, become what lies in it between the ranges. */
Span
keep_active(Datum active, MemoryContext context, Spans *pauses)
{
	TypeCacheEntry *type = lookup_type_cache(TSTZRANGEOID, TYPECACHE_RANGE_INFO);
	RangeType **ranges;
	int32 n;
	Span all = {DT_NOBEGIN, DT_NOBEGIN};

	multirange_deserialize(type, DatumGetMultirangeTypeP(active), &n, &ranges);
	*pauses = (Spans){Max(n - 1, 0), NULL};
	if (n > 1)
		pauses->spans = MemoryContextAlloc(context, (n - 1) * sizeof(Span));
	for (int i = 0; i < n; i++)
	{
		Span span = span_from_range(RangeTypePGetDatum(ranges[i]));

		if (i == 0)
			all = span;
		else
		{
			pauses->spans[i - 1] = (Span){all.until, span.from};
			all.until = span.until;
		}
	}
	return all;
}

/* What sorts numbers, without a call to compare two: for fifty segments that takes half as long. */
#define ST_SORT sort_ints
#define ST_ELEMENT_TYPE int
#define ST_COMPARE(a, b) (*(a) < *(b) ? -1 : *(a) > *(b))
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

/* Numbers below this one may be sorted by a bit for each, where there are enough of them. */
#define BIT_NUMBERS (16 * 1024)

/* Does what numbers_sort() does by a bit for each number up to last: a third of the steps where they are close. */
static int
numbers_sort_by_bits(int *numbers, int n, int last)
{
	uint64 bits[BIT_WORDS(BIT_NUMBERS)];
	int words = last / 64 + 1;
	int kept = 0;

	memset(bits, 0, words * sizeof(uint64));
	for (int i = 0; i < n; i++)
		BIT_SET(bits, numbers[i]);
	for (int i = 0; i < words; i++)
		for (uint64 word = bits[i]; word != 0; word &= word - 1)
			numbers[kept++] = i * 64 + pg_rightmost_one_pos64(word);
	return kept;
}

/* Sorts numbers and drops repeats; returns how many are left. */
int
numbers_sort(int *numbers, int n)
{
	int kept = Min(n, 1);
	int first = 0;
	int last = 0;

	/* Mostly they come so. */
	while (kept < n && numbers[kept - 1] < numbers[kept])
		kept++;
	if (kept == n)
		return n;
	kept = 0;
	for (int i = 0; i < n; i++)
	{
		first = Min(first, numbers[i]);
		last = Max(last, numbers[i]);
	}
	if (first == 0 && last < BIT_NUMBERS && last / 64 < n * 8)
		return numbers_sort_by_bits(numbers, n, last);
	sort_ints(numbers, n);
	for (int i = 0; i < n; i++)
		if (kept == 0 || numbers[i] != numbers[kept - 1])
			numbers[kept++] = numbers[i];
	return kept;
}

/* Returns a copy in context of a text value of the last result, or NULL. */
text *
spi_keep_text(uint64 row, int column, MemoryContext context)
{
	bool isnull;
	Datum value = spi_datum(row, column, &isnull);
	MemoryContext old = MemoryContextSwitchTo(context);
	text *kept = isnull ? NULL : DatumGetTextPCopy(value);

	MemoryContextSwitchTo(old);
	return kept;
}

/* Returns a copy of a numeric value, in context. */
Numeric
keep_numeric(Datum value, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	Numeric kept = DatumGetNumericCopy(value);

	MemoryContextSwitchTo(old);
	return kept;
}

/* Returns a numeric column as an amount kept in context; *present tells whether there is one. */
Money
spi_keep_money(uint64 row, int column, MemoryContext context, bool *present)
{
	bool isnull;
	Datum value = spi_datum(row, column, &isnull);

	return keep_money(value, isnull, context, present);
}

/* Returns the numbers of the segments that a text[] column names, ascending; -1 for one that nobody can be in. */
int *
spi_keep_segments(PriceRules *rules, uint64 row, int column, int *count)
{
	bool isnull;
	Datum value = spi_datum(row, column, &isnull);
	Datum *codes;
	bool *nulls;
	int *numbers;

	deconstruct_array(DatumGetArrayTypeP(value), TEXTOID, -1, false, TYPALIGN_INT, &codes, &nulls, count);
	numbers = MemoryContextAlloc(rules->context, Max(*count, 1) * sizeof(int));
	for (int i = 0; i < *count; i++)
		numbers[i] = segment_find(rules, DatumGetTextPP(codes[i]));
	*count = numbers_sort(numbers, *count);
	return numbers;
}

static ListKind
list_kind(const char *name)
{
	if (strcmp(name, "base") == 0)
		return LIST_BASE;
	return strcmp(name, "sale") == 0 ? LIST_SALE : LIST_OVERRIDE;
}

ListStatus
list_status(const char *name)
{
	if (strcmp(name, "active") == 0)
		return STATUS_ACTIVE;
	if (strcmp(name, "draft") == 0)
		return STATUS_DRAFT;
	return strcmp(name, "approved") == 0 ? STATUS_APPROVED : STATUS_RETIRED;
}

static void
rules_read_segments(PriceRules *rules)
{
	uint64 n = kept_plan_run(&segments_select, NULL, NULL, true, 0);

	rules->nsegments = (int) n;
	code_map_init(&rules->segments, rules->context, (uint32) n);
	for (uint64 i = 0; i < n; i++)
	{
		text *code = spi_keep_text(i, 1, rules->context);

		/* The number itself, from 1 on, instead of a place where it is. */
		code_map_put(&rules->segments, VARDATA_ANY(code), VARSIZE_ANY_EXHDR(code), (void *) (uintptr_t) (i + 1));
	}
}

static void
rules_read_currencies(PriceRules *rules)
{
	uint64 n = kept_plan_run(&currencies_select, NULL, NULL, true, 0);
	Currency *currencies = MemoryContextAlloc(rules->context, mul_size(Max(n, 1), sizeof(Currency)));

	code_map_init(&rules->currencies, rules->context, (uint32) n);
	for (uint64 i = 0; i < n; i++)
	{
		Currency *currency = &currencies[i];
		bool isnull;

		currency->code = spi_text(i, 1, rules->context);
		currency->code_text = spi_keep_text(i, 1, rules->context);
		currency->decimals = DatumGetInt32(spi_datum(i, 2, &isnull));
		code_map_put(&rules->currencies, currency->code, strlen(currency->code), currency);
	}
}

static void
rules_read_lists(PriceRules *rules)
{
	MemoryContext context = rules->context;
	uint64 n = kept_plan_run(&lists_select, NULL, NULL, true, 0);
	Size length = 0;
	char *codes;

	/* The codes lie side by side, as each price that is read is compared with one. */
	for (uint64 i = 0; i < n; i++)
		length += strlen(spi_text(i, 1, CurrentMemoryContext)) + 1;
	codes = MemoryContextAllocHuge(context, Max(length, 1));
	rules->nlists = (int) n;
	rules->lists = MemoryContextAllocHuge(context, mul_size(Max(n, 1), sizeof(PriceList)));
	code_map_init(&rules->lists_by_code, context, (uint32) n);
	for (uint64 i = 0; i < n; i++)
	{
		PriceList *list = &rules->lists[i];
		bool isnull;

		list->code = strcpy(codes, spi_text(i, 1, CurrentMemoryContext));
		codes += strlen(list->code) + 1;
		list->code_text = spi_keep_text(i, 1, context);
		list->number = (int) i;
		list->kind = list_kind(spi_text(i, 2, CurrentMemoryContext));
		list->status = list_status(spi_text(i, 3, CurrentMemoryContext));
		list->priority = DatumGetInt32(spi_datum(i, 4, &isnull));
		list->currency = currency_find(rules, DatumGetTextPP(spi_datum(i, 5, &isnull)));
		list->audience.any = spi_keep_segments(rules, i, 6, &list->audience.nany);
		list->audience.all = spi_keep_segments(rules, i, 7, &list->audience.nall);
		list->valid = span_from_range(spi_datum(i, 8, &isnull));
		list->tax_inclusive = DatumGetBool(spi_datum(i, 9, &isnull));
		list->active = keep_active(spi_datum(i, 10, &isnull), context, &list->pauses);
		code_map_put(&rules->lists_by_code, list->code, strlen(list->code), (void *) (uintptr_t) (i + 1));
	}
}

/*
 * audience_index turns round who the things are for, each of size bytes with its Audience at offset.
 *
 * One that is for any of some segments stands under each of them, one that is for all of some under the first.
 */
static void
audience_index(PriceRules *rules, AudienceIndex *index, const void *things, int n, Size size, Size offset)
{
	int total = 0;
	int *next;

	index->for_all = MemoryContextAllocZero(rules->context, Max(BIT_WORDS(n), 1) * sizeof(uint64));
	index->starts = MemoryContextAllocExtended(rules->context, mul_size(rules->nsegments + 1, sizeof(int)),
											   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	next = palloc_extended(mul_size(rules->nsegments + 1, sizeof(int)), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (int pass = 0; pass < 2; pass++)
	{
		for (int i = 0; i < n; i++)
		{
			const Audience *audience = (const Audience *) ((const char *) things + i * size + offset);
			const int *segments = audience->nany > 0 ? audience->any : audience->all;
			int nsegments = audience->nany > 0 ? audience->nany : Min(audience->nall, 1);

			if (nsegments == 0)
				BIT_SET(index->for_all, i);
			for (int j = 0; j < nsegments; j++)
			{
				if (segments[j] < 0)
					continue;
				if (pass == 0)
					index->starts[segments[j] + 1]++;
				else
					index->numbers[next[segments[j]]++] = i;
			}
		}
		if (pass > 0)
			break;
		for (int i = 0; i < rules->nsegments; i++)
		{
			next[i] = total;
			total += index->starts[i + 1];
			index->starts[i + 1] = total;
		}
		index->numbers = MemoryContextAllocHuge(rules->context, mul_size(Max(total, 1), sizeof(int)));
	}
	pfree(next);
}

static void *
rules_build(ConfigCache *cache, MemoryContext context)
{
	PriceRules *rules = MemoryContextAllocZero(context, sizeof(PriceRules));
	MemoryContext old;

	rules->context = context;
	rules_read_segments(rules);
	rules_read_currencies(rules);
	rules_read_lists(rules);
	promotions_read(rules);
	omnibus_read(rules);
	audience_index(rules, &rules->list_audiences, rules->lists, rules->nlists, sizeof(PriceList),
				   offsetof(PriceList, audience));
	audience_index(rules, &rules->promotion_audiences, rules->promotions, rules->npromotions, sizeof(Promotion),
				   offsetof(Promotion, audience));
	old = MemoryContextSwitchTo(context);
	rules->no_promotions = construct_empty_array(TEXTOID);
	MemoryContextSwitchTo(old);
	rules->audiences = MemoryContextAllocZero(context, AUDIENCE_PLACES * sizeof(AudienceSet *));
	return rules;
}

/*
 * price_rules_get returns the rules as they are now, good until the next call.
 *
 * Raises 55000 before setup(), 42501 for a role that may not read the tables.
 */
PriceRules *
price_rules_get(void)
{
	static uint64 stamp = 0;
	const Company *company = company_get();
	PriceRules *rules = unconstify(PriceRules *, (const PriceRules *) config_cache_get(&rules_cache));

	Rounding rounding = money_rounding(company->rounding);
	const OmnibusRule *omnibus_rule = code_map_get(&rules->omnibus, company->country, strlen(company->country));

	rules->generation = rules_cache.generation;
	if (rules->company_currency == NULL || strcmp(rules->company_currency->code, company->currency) != 0)
		rules->company_currency = code_map_get(&rules->currencies, company->currency, strlen(company->currency));
	if (promotions_take_used_up(rules) || rules->rounding != rounding || rules->omnibus_rule != omnibus_rule ||
		rules->amounts_tax_inclusive != company->tax_inclusive)
		rules->stamp = ++stamp;
	rules->rounding = rounding;
	rules->omnibus_rule = omnibus_rule;
	rules->amounts_tax_inclusive = company->tax_inclusive;
	return rules;
}

/* Returns the currency, or NULL where it is not known. */
const Currency *
currency_find(const PriceRules *rules, const text *currency)
{
	const Currency *company = rules->company_currency;

	/* Mostly it is the company's. */
	if (company != NULL && VARSIZE_ANY_EXHDR(company->code_text) == VARSIZE_ANY_EXHDR(currency) &&
		bytes_equal(company->code, VARDATA_ANY(currency), VARSIZE_ANY_EXHDR(currency)))
		return company;
	return code_map_get(&rules->currencies, VARDATA_ANY(currency), VARSIZE_ANY_EXHDR(currency));
}

/* Returns whether a number is among ascending ones. */
bool
numbers_contain(const int *numbers, int n, int wanted)
{
	int low = 0;

	while (low < n)
	{
		int middle = low + (n - low) / 2;

		if (numbers[middle] == wanted)
			return true;
		if (numbers[middle] < wanted)
			low = middle + 1;
		else
			n = middle;
	}
	return false;
}

/* Returns whether customers in these segments are in each of those that the audience must be in. */
static bool
is_in_all(const Audience *audience, const int *segments, int nsegments)
{
	for (int i = 0; i < audience->nall; i++)
		if (!numbers_contain(segments, nsegments, audience->all[i]))
			return false;
	return true;
}

/* Returns a bit for each thing that customers in these segments may have, in context. */
static uint64 *
audience_bits(const AudienceIndex *index, MemoryContext context, const int *segments, int nsegments, const void *things,
			  int n, Size size, Size offset)
{
	Size bytes = Max(BIT_WORDS(n), 1) * sizeof(uint64);
	uint64 *bits = MemoryContextAlloc(context, bytes);

	memcpy(bits, index->for_all, bytes);
	for (int i = 0; i < nsegments; i++)
		for (int place = index->starts[segments[i]]; place < index->starts[segments[i] + 1]; place++)
		{
			int number = index->numbers[place];
			const Audience *audience = (const Audience *) ((const char *) things + number * size + offset);

			if (is_in_all(audience, segments, nsegments))
				BIT_SET(bits, number);
		}
	return bits;
}

/* Returns the hash of a set of segments, two at a time. */
static uint32
segments_hash(const int *segments, int nsegments)
{
	uint64 hash = (uint64) nsegments;
	int i = 1;

	for (; i < nsegments; i += 2)
		hash = hash_mix(hash, (uint64) segments[i - 1] << 32 | (uint32) segments[i]);
	return last_hash(hash, i == nsegments ? (uint64) segments[i - 1] : 0);
}

/* Makes the set of these segments in context. */
static AudienceSet *
audience_make(PriceRules *rules, MemoryContext context, const int *segments, int nsegments, uint32 hash)
{
	AudienceSet *set = MemoryContextAllocZero(context, sizeof(AudienceSet));

	set->hash = hash;
	set->nsegments = nsegments;
	set->segments = MemoryContextAlloc(context, Max(nsegments, 1) * sizeof(int));
	memcpy(set->segments, segments, nsegments * sizeof(int));
	set->lists = audience_bits(&rules->list_audiences, context, segments, nsegments, rules->lists, rules->nlists,
							   sizeof(PriceList), offsetof(PriceList, audience));
	set->promotions = audience_bits(&rules->promotion_audiences, context, segments, nsegments, rules->promotions,
									rules->npromotions, sizeof(Promotion), offsetof(Promotion, audience));
	return set;
}

/*
 * audience_get returns the set of these segments, with the lists that are for it, good as long as the rules.
 *
 * segments is sorted in place and may name one twice. Once AUDIENCES_KEPT are kept, a new one is made in the caller's
 * context, for this call only: *kept tells.
 */
const AudienceSet *
audience_get(PriceRules *rules, int *segments, int nsegments, bool *kept)
{
	uint32 hash;
	uint32 place;
	AudienceSet *set;

	*kept = true;
	nsegments = numbers_sort(segments, nsegments);
	hash = segments_hash(segments, nsegments);
	for (place = hash % AUDIENCE_PLACES; (set = rules->audiences[place]) != NULL; place = (place + 1) % AUDIENCE_PLACES)
		if (set->hash == hash && set->nsegments == nsegments &&
			(nsegments == 0 || memcmp(set->segments, segments, nsegments * sizeof(int)) == 0))
			return set;

	if (rules->naudiences >= AUDIENCES_KEPT)
	{
		*kept = false;
		return audience_make(rules, CurrentMemoryContext, segments, nsegments, hash);
	}
	set = audience_make(rules, rules->context, segments, nsegments, hash);
	set->kept = true;
	rules->audiences[place] = set;
	rules->naudiences++;
	return set;
}
