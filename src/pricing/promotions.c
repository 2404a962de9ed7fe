/*
 * promotions.c
 *	  Promotions, read whole with the price rules; whom they are opened by, and what they concern.
 *
 * What a promotion concerns is turned round once: from a product, a category or a brand to the promotions that name it,
 * so that a product finds its few among thousands. Coupons are as many as there are customers, so they are not kept.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/timestamp.h"

#include "pricing/pricing.h"

enum
{
	COLUMN_CODE = 1,
	COLUMN_KIND,
	COLUMN_VALUE,
	COLUMN_CAP,
	COLUMN_BUY,
	COLUMN_GET,
	COLUMN_MAX_UNITS,
	COLUMN_CURRENCY,
	COLUMN_PRODUCTS,
	COLUMN_CATEGORIES,
	COLUMN_BRANDS,
	COLUMN_EXCEPT_PRODUCTS,
	COLUMN_EXCEPT_CATEGORIES,
	COLUMN_EXCEPT_BRANDS,
	COLUMN_ANY,
	COLUMN_ALL,
	COLUMN_MIN_QUANTITY,
	COLUMN_MIN_SUBTOTAL,
	COLUMN_COUPON,
	COLUMN_STAGE,
	COLUMN_PRIORITY,
	COLUMN_EXCLUSIVE,
	COLUMN_STOP,
	COLUMN_BEST_OF,
	COLUMN_CUSTOMER_LIMIT,
	COLUMN_VALID,
	COLUMN_STATUS,
	COLUMN_ACTIVE
};

static KeptPlan promotions_select = {
	.sql = "SELECT p.promotion, p.kind, p.value, p.cap, p.buy_quantity, p.get_quantity, p.max_units, p.currency,"
		   " p.products, p.categories::text[], p.brands, p.except_products, p.except_categories::text[],"
		   " p.except_brands, p.segments_any, p.segments_all, p.min_quantity, p.min_subtotal, p.needs_coupon, p.stage,"
		   " p.priority, p.exclusive, p.stop, p.best_of, p.customer_limit, p.valid, p.status, p.active"
		   " FROM omnichannel.promotion p"
		   " ORDER BY p.promotion COLLATE \"C\"",
};

static KeptPlan used_up_select = {
	.sql = "SELECT promotion, since, until FROM omnichannel.promotion_used_up ORDER BY promotion, since",
};

/* Whether a use counts for those who ask as of $3. */
#define USE_COUNTS "u.reserved_at <= $3 AND (u.state <> 'released' OR u.released_at > $3)"

/* When that changes next. */
#define USE_CHANGES "CASE WHEN u.reserved_at > $3 THEN u.reserved_at WHEN u.released_at > $3 THEN u.released_at END"

static KeptPlan coupons_select = {
	.sql = "SELECT c.promotion, c.valid, (c.use_limit IS NULL OR c.use_limit > CASE WHEN $3 >= now() THEN c.uses ELSE"
		   " (SELECT count(*) FROM omnichannel.promotion_use u WHERE u.coupon = c.coupon AND " USE_COUNTS ") END)"
		   " AND (c.customer_id IS NULL OR c.customer_id = ANY (omnichannel.customer_group($2)))"
		   ", CASE WHEN c.use_limit IS NOT NULL AND $3 < now() THEN (SELECT min(" USE_CHANGES ") FROM"
		   " omnichannel.promotion_use u WHERE u.coupon = c.coupon) END, given.code"
		   " FROM unnest($1) AS given (code)"
		   " LEFT JOIN omnichannel.coupon c ON c.coupon = upper(btrim(given.code))",
	.nargs = 3,
	.argtypes = {TEXTARRAYOID, INT8OID, TIMESTAMPTZOID},
};

static KeptPlan anonymous_coupons_select = {
	.sql = "SELECT c.promotion, c.valid, (c.use_limit IS NULL OR c.use_limit > CASE WHEN $3 >= now() THEN c.uses ELSE"
		   " (SELECT count(*) FROM omnichannel.promotion_use u WHERE u.coupon = c.coupon AND " USE_COUNTS ") END)"
		   " AND c.customer_id IS NULL"
		   ", CASE WHEN c.use_limit IS NOT NULL AND $3 < now() THEN (SELECT min(" USE_CHANGES ") FROM"
		   " omnichannel.promotion_use u WHERE u.coupon = c.coupon) END, given.code"
		   " FROM unnest($1) AS given (code)"
		   " LEFT JOIN omnichannel.coupon c ON c.coupon = upper(btrim(given.code))",
	.nargs = 3,
	.argtypes = {TEXTARRAYOID, INT8OID, TIMESTAMPTZOID},
};

#define CLOSED_SELECT(counts, customers)                                                                               \
	"SELECT u.promotion, count(*) FILTER (WHERE " counts ") >= p.customer_limit, min(" USE_CHANGES ")"                 \
	" FROM omnichannel.promotion_use u JOIN omnichannel.promotion p ON p.promotion = u.promotion"                      \
	" WHERE u.customer_id = ANY (" customers ") AND p.customer_limit IS NOT NULL"                                      \
	" GROUP BY u.promotion, p.customer_limit"

static KeptPlan closed_select = {
	.sql = CLOSED_SELECT(USE_COUNTS, "omnichannel.customer_group($2)"),
	.nargs = 3,
	.argtypes = {TEXTARRAYOID, INT8OID, TIMESTAMPTZOID},
};

/* The same for those who could not see what began or ended at the moments $4; customers $5, NULL: who is one now. */
#define USE_COUNTED                                                                                                    \
	"u.reserved_at <= $3 AND u.reserved_at <> ALL ($4)"                                                                \
	" AND (u.state <> 'released' OR u.released_at > $3 OR u.released_at = ANY ($4))"

static KeptPlan unseen_coupons_select = {
	.sql = "SELECT c.promotion, c.valid, (c.use_limit IS NULL OR c.use_limit >"
		   " (SELECT count(*) FROM omnichannel.promotion_use u WHERE u.coupon = c.coupon AND " USE_COUNTED "))"
		   " AND (c.customer_id IS NULL OR c.customer_id = ANY (coalesce($5, CASE WHEN $2 IS NOT NULL THEN"
		   " omnichannel.customer_group($2) END))), NULL::timestamptz"
		   ", given.code"
		   " FROM unnest($1) AS given (code)"
		   " LEFT JOIN omnichannel.coupon c ON c.coupon = upper(btrim(given.code))",
	.nargs = 5,
	.argtypes = {TEXTARRAYOID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZARRAYOID, INT8ARRAYOID},
};

static KeptPlan unseen_closed_select = {
	.sql = CLOSED_SELECT(USE_COUNTED, "coalesce($5, omnichannel.customer_group($2))"),
	.nargs = 5,
	.argtypes = {TEXTARRAYOID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZARRAYOID, INT8ARRAYOID},
};

/* A span of promotion_used_up. */
typedef struct UsedUp
{
	const char *promotion;
	Span span;
} UsedUp;

typedef struct UsedUpSpans
{
	MemoryContext context;
	int n;
	UsedUp *spans;
} UsedUpSpans;

static void *used_up_build(ConfigCache *cache, MemoryContext context);

/* Apart from the rules: it comes and goes with every last use that is taken and given back. */
static ConfigCache used_up_cache = {
	.name = "promotion_used_up", .tables = {"promotion_used_up"}, .build = used_up_build};

static PromotionKind
promotion_kind(const char *name)
{
	static const char *const names[] = {"percent", "amount", "fixed_price", "buy_get", "order_percent", "order_amount"};

	for (int i = 0; i < (int) lengthof(names); i++)
		if (strcmp(name, names[i]) == 0)
			return (PromotionKind) i;
	elog(ERROR, "promotion kind \"%s\" is not known", name);
}

/* Returns a text[] column for keeping. */
static Codes
keep_codes(PriceRules *rules, uint64 row, int column)
{
	Codes codes = {0, NULL};
	bool isnull;
	Datum value = spi_datum(row, column, &isnull);
	Datum *elements;
	bool *nulls;
	MemoryContext old;

	deconstruct_array(DatumGetArrayTypeP(value), TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &codes.n);
	old = MemoryContextSwitchTo(rules->context);
	codes.codes = palloc(Max(codes.n, 1) * sizeof(text *));
	for (int i = 0; i < codes.n; i++)
		codes.codes[i] = DatumGetTextPCopy(elements[i]);
	MemoryContextSwitchTo(old);
	return codes;
}

/* Enters a promotion under each of its targets. */
static void
enter_targets(PriceRules *rules, CodeMap *map, const Codes *targets, Promotion *promotion)
{
	for (int i = 0; i < targets->n; i++)
	{
		const char *code = VARDATA_ANY(targets->codes[i]);
		uint32 length = VARSIZE_ANY_EXHDR(targets->codes[i]);
		List **promotions = code_map_get(map, code, length);

		if (promotions == NULL)
		{
			promotions = palloc0(sizeof(List *));
			code_map_put(map, code, length, promotions);
		}
		*promotions = lappend(*promotions, promotion);
	}
}

/* Notes that a promotion has a limit for each customer. */
static void
note_customer_limit(PriceRules *rules, int number, int64 limit)
{
	Size size = BIT_WORDS(rules->npromotions) * sizeof(uint64);

	if (rules->customer_limits == NULL)
	{
		rules->customer_limits = MemoryContextAllocZero(rules->context, size);
		rules->customer_zeros = MemoryContextAllocZero(rules->context, size);
	}
	BIT_SET(rules->customer_limits, number);
	if (limit == 0)
		BIT_SET(rules->customer_zeros, number);
}

/* Reads all promotions into the rules. Needs an SPI scope, and the segments and currencies to be there. */
void
promotions_read(PriceRules *rules)
{
	MemoryContext context = rules->context;
	uint64 n = kept_plan_run(&promotions_select, NULL, NULL, true, 0);
	const Money hundredth = {MONEY_ONE / 100, NULL};
	MemoryContext old;

	rules->npromotions = (int) n;
	rules->promotions =
		MemoryContextAllocExtended(context, mul_size(Max(n, 1), sizeof(Promotion)), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	rules->sparing = MemoryContextAllocZero(context, Max(BIT_WORDS(n), 1) * sizeof(uint64));
	code_map_init(&rules->promotions_of_product, context, 16);
	code_map_init(&rules->promotions_of_category, context, 16);
	code_map_init(&rules->promotions_of_brand, context, 16);
	for (uint64 i = 0; i < n; i++)
	{
		Promotion *promotion = &rules->promotions[i];
		bool isnull;
		bool present;
		Datum value;

		promotion->code = spi_text(i, COLUMN_CODE, context);
		promotion->code_text = spi_keep_text(i, COLUMN_CODE, context);
		promotion->number = (int) i;
		promotion->kind = promotion_kind(spi_text(i, COLUMN_KIND, CurrentMemoryContext));
		promotion->status = list_status(spi_text(i, COLUMN_STATUS, CurrentMemoryContext));
		promotion->value = spi_keep_money(i, COLUMN_VALUE, context, &present);
		promotion->cap = spi_keep_money(i, COLUMN_CAP, context, &promotion->has_cap);
		promotion->buy_quantity = DatumGetInt32(spi_datum(i, COLUMN_BUY, &isnull));
		promotion->get_quantity = DatumGetInt32(spi_datum(i, COLUMN_GET, &isnull));
		promotion->max_units = spi_keep_money(i, COLUMN_MAX_UNITS, context, &promotion->has_max_units);
		value = spi_datum(i, COLUMN_CURRENCY, &isnull);
		promotion->currency = isnull ? NULL : currency_find(rules, DatumGetTextPP(value));
		promotion->products = keep_codes(rules, i, COLUMN_PRODUCTS);
		promotion->categories = keep_codes(rules, i, COLUMN_CATEGORIES);
		promotion->brands = keep_codes(rules, i, COLUMN_BRANDS);
		promotion->except_products = keep_codes(rules, i, COLUMN_EXCEPT_PRODUCTS);
		promotion->except_categories = keep_codes(rules, i, COLUMN_EXCEPT_CATEGORIES);
		promotion->except_brands = keep_codes(rules, i, COLUMN_EXCEPT_BRANDS);
		if (promotion->except_products.n > 0 || promotion->except_categories.n > 0 || promotion->except_brands.n > 0)
			BIT_SET(rules->sparing, i);
		promotion->audience.any = spi_keep_segments(rules, i, COLUMN_ANY, &promotion->audience.nany);
		promotion->audience.all = spi_keep_segments(rules, i, COLUMN_ALL, &promotion->audience.nall);
		promotion->min_quantity = spi_keep_money(i, COLUMN_MIN_QUANTITY, context, &present);
		promotion->min_subtotal = spi_keep_money(i, COLUMN_MIN_SUBTOTAL, context, &present);
		promotion->needs_coupon = DatumGetBool(spi_datum(i, COLUMN_COUPON, &isnull));
		promotion->stage = DatumGetInt32(spi_datum(i, COLUMN_STAGE, &isnull));
		promotion->priority = DatumGetInt32(spi_datum(i, COLUMN_PRIORITY, &isnull));
		promotion->exclusive = DatumGetBool(spi_datum(i, COLUMN_EXCLUSIVE, &isnull));
		promotion->stop = DatumGetBool(spi_datum(i, COLUMN_STOP, &isnull));
		promotion->best_of = spi_text(i, COLUMN_BEST_OF, context);
		value = spi_datum(i, COLUMN_CUSTOMER_LIMIT, &isnull);
		if (!isnull)
			note_customer_limit(rules, promotion->number, DatumGetInt64(value));
		promotion->valid = span_from_range(spi_datum(i, COLUMN_VALID, &isnull));
		promotion->active = keep_active(spi_datum(i, COLUMN_ACTIVE, &isnull), context, &promotion->pauses);
	}

	old = MemoryContextSwitchTo(context);
	for (int i = 0; i < rules->npromotions; i++)
	{
		Promotion *promotion = &rules->promotions[i];
		Datum code = PointerGetDatum(promotion->code_text);

		promotion->alone = array_of(&code, NULL, 1, TEXTOID);
		if (promotion->kind == PROMOTION_PERCENT || promotion->kind == PROMOTION_BUY_GET ||
			promotion->kind == PROMOTION_ORDER_PERCENT)
			promotion->value = money_multiply(promotion->value, hundredth);
		enter_targets(rules, &rules->promotions_of_product, &promotion->products, promotion);
		enter_targets(rules, &rules->promotions_of_category, &promotion->categories, promotion);
		enter_targets(rules, &rules->promotions_of_brand, &promotion->brands, promotion);
		if (promotion->products.n == 0 && promotion->categories.n == 0 && promotion->brands.n == 0)
			rules->promotions_of_all = lappend(rules->promotions_of_all, promotion);
	}
	MemoryContextSwitchTo(old);
}

static bool
codes_contain(const Codes *codes, const char *code, uint32 length)
{
	for (int i = 0; i < codes->n; i++)
		if (VARSIZE_ANY_EXHDR(codes->codes[i]) == length && memcmp(VARDATA_ANY(codes->codes[i]), code, length) == 0)
			return true;
	return false;
}

/* Returns whether the promotion spares the product. */
static bool
promotion_spares(const Promotion *promotion, const Product *product)
{
	if (promotion->except_products.n > 0)
		for (const Product *above = product; above != NULL; above = above->parent)
			if (codes_contain(&promotion->except_products, above->target.code, above->target.length))
				return true;
	if (promotion->except_brands.n > 0 && product->brand != NULL &&
		codes_contain(&promotion->except_brands, product->brand, strlen(product->brand)))
		return true;
	if (promotion->except_categories.n > 0 && product->category != NULL)
	{
		uint32 length = strlen(product->category);

		for (;;)
		{
			if (codes_contain(&promotion->except_categories, product->category, length))
				return true;
			while (length > 0 && product->category[length - 1] != '.')
				length--;
			if (length == 0)
				break;
			length--;
		}
	}
	return false;
}

/* Promotions that concern a product, as they are found. */
typedef struct Found
{
	const PriceRules *rules;
	Product *product;
	int n;
	int space;
	int *numbers;
	int few[16];
} Found;

/* Notes those promotions that do not spare the product. */
static void
take_promotions(const List *promotions, Found *found)
{
	foreach_ptr (Promotion, promotion, promotions)
	{
		int number = (int) (promotion - found->rules->promotions);

		if (BIT_TEST(found->rules->sparing, number) && promotion_spares(promotion, found->product))
			continue;
		if (found->n == found->space)
		{
			int *numbers = palloc(mul_size(found->space, 2 * sizeof(int)));

			memcpy(numbers, found->numbers, found->n * sizeof(int));
			found->numbers = numbers;
			found->space *= 2;
		}
		found->numbers[found->n++] = number;
	}
}

static void
take_promotions_of_code(const CodeMap *map, const char *code, uint32 length, uint32 hash, Found *found)
{
	List **promotions = code_map_get_hashed(map, code, length, hash);

	if (promotions != NULL)
		take_promotions(*promotions, found);
}

/* Returns the promotions that name a category. */
const List *
promotions_of_category(const PriceRules *rules, const char *path, uint32 length)
{
	List **promotions = code_map_get(&rules->promotions_of_category, path, length);

	return promotions == NULL ? NIL : *promotions;
}

/*
 * Fills product->promotions, in the hoard: those that name it, its category or brand, or nothing at all. It is linked.
 */
void
promotions_of(const PriceRules *rules, Product *product, Hoard *hoard)
{
	Found found = {rules, product, 0, lengthof(found.few)};

	if (rules->npromotions == 0)
		return;
	found.numbers = found.few;
	take_promotions(rules->promotions_of_all, &found);
	for (const Product *above = product; above != NULL; above = above->parent)
		take_promotions_of_code(&rules->promotions_of_product, above->target.code, above->target.length,
								above->target.hash, &found);
	if (product->brand != NULL)
	{
		uint32 length = strlen(product->brand);

		take_promotions_of_code(&rules->promotions_of_brand, product->brand, length, code_hash(product->brand, length),
								&found);
	}
	for (const PriceTarget *target = product->wider; target != NULL; target = target->wider)
		take_promotions(target->promotions, &found);
	if (found.n == 0)
		return;
	product->npromotions = numbers_sort(found.numbers, found.n);
	product->promotions = hoard_alloc(hoard, product->npromotions * sizeof(int));
	memcpy(product->promotions, found.numbers, product->npromotions * sizeof(int));
}

/* Returns whether the promotion can concern the product. */
bool
promotion_concerns(const Promotion *promotion, const Product *product)
{
	return numbers_contain(product->promotions, product->npromotions, promotion->number);
}

/* Returns the promotion of this code, or NULL for one that is too new for the rules. */
static Promotion *
promotion_find(const PriceRules *rules, const char *code)
{
	int low = 0;
	int high = rules->npromotions;

	while (low < high)
	{
		int middle = low + (high - low) / 2;
		int order = strcmp(rules->promotions[middle].code, code);

		if (order == 0)
			return &rules->promotions[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* Sets the bit of a promotion that a row of the last result names, where it is known. */
static void
set_promotion_bit(const PriceRules *rules, uint64 row, uint64 *bits)
{
	const Promotion *promotion = promotion_find(rules, spi_text(row, 1, CurrentMemoryContext));

	if (promotion != NULL)
		BIT_SET(bits, promotion->number);
}

static void *
used_up_build(ConfigCache *cache, MemoryContext context)
{
	UsedUpSpans *used_up = MemoryContextAllocZero(context, sizeof(UsedUpSpans));
	uint64 n = kept_plan_run(&used_up_select, NULL, NULL, true, 0);

	used_up->context = context;
	used_up->n = (int) n;
	used_up->spans = MemoryContextAllocHuge(context, mul_size(Max(n, 1), sizeof(UsedUp)));
	for (uint64 i = 0; i < n; i++)
	{
		UsedUp *entry = &used_up->spans[i];
		bool isnull;
		Datum until;

		entry->promotion = spi_text(i, 1, context);
		entry->span.from = DatumGetTimestampTz(spi_datum(i, 2, &isnull));
		until = spi_datum(i, 3, &isnull);
		entry->span.until = isnull ? DT_NOEND : DatumGetTimestampTz(until);
	}
	return used_up;
}

/* Gives the promotions of the rules the times at which nothing was left; returns whether these may have changed. */
bool
promotions_take_used_up(PriceRules *rules)
{
	const UsedUpSpans *used_up = config_cache_get(&used_up_cache);
	Promotion *promotion = NULL;

	if (rules->used_up_generation == used_up_cache.generation)
		return false;
	rules->used_up_generation = used_up_cache.generation;
	for (int i = 0; i < rules->npromotions; i++)
		rules->promotions[i].used_up.n = rules->promotions[i].noted.n = 0;
	for (int i = 0; i < used_up->n; i++)
	{
		const UsedUp *entry = &used_up->spans[i];

		if (i == 0 || strcmp(entry->promotion, used_up->spans[i - 1].promotion) != 0)
		{
			int n = 1;

			while (i + n < used_up->n && strcmp(entry->promotion, used_up->spans[i + n].promotion) == 0)
				n++;
			promotion = promotion_find(rules, entry->promotion);
			if (promotion != NULL)
				promotion->noted.spans = MemoryContextAllocHuge(used_up->context, mul_size(n, sizeof(Span)));
		}
		if (promotion == NULL)
			continue;
		promotion->noted.spans[promotion->noted.n++] = entry->span;
		if (i + 1 == used_up->n || strcmp(entry->promotion, used_up->spans[i + 1].promotion) != 0)
			promotion->used_up = spans_merged(&promotion->noted, used_up->context);
	}
	return true;
}

/* Lowers *until to a moment of the last result, if there is one. */
static void
lower_to_moment(uint64 row, int column, TimestampTz *until)
{
	bool isnull;
	Datum moment = spi_datum(row, column, &isnull);

	if (!isnull)
		*until = Min(*until, DatumGetTimestampTz(moment));
}

/* Returns the moments of changes that were not seen as timestamptz[], or no Datum. */
static Datum
unseen_datum(const Unseen *unseen)
{
	Datum *moments;

	if (unseen == NULL)
		return (Datum) 0;
	moments = palloc(Max(unseen->n, 1) * sizeof(Datum));
	for (int i = 0; i < unseen->n; i++)
		moments[i] = TimestampTzGetDatum(unseen->moments[i]);
	return array_of(moments, NULL, unseen->n, TIMESTAMPTZOID);
}

/* Raises that a coupon is not known: of the rows of coupons_select without one the first, as codes are ordered. */
static void
refuse_coupon(uint64 n)
{
	const char *unknown = NULL;

	for (uint64 i = 0; i < n; i++)
	{
		const char *given = spi_text(i, 5, CurrentMemoryContext);

		if (spi_text(i, 1, CurrentMemoryContext) == NULL && given != NULL &&
			(unknown == NULL || strcmp(given, unknown) < 0))
			unknown = given;
	}
	ereport(ERROR, (errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
					unknown == NULL ? errmsg("a coupon that is NULL is not known")
									: errmsg("coupon \"%s\" is not known", excerpt(unknown)),
					errhint("Ask for the code again: none in omnichannel.coupon is written so.")));
}

/*
 * coupons_open returns a bit for each promotion that these coupons open at that time, NULL for no coupons, and lowers
 * *until to the next moment at which one of them begins or ends, or was used. unseen: uses that do not count yet, or
 * still do; NULL: none.
 *
 * Reads with the caller's rights. Raises 23503 for a code that is not known; one that is used up, out of its time or
 * another customer's opens nothing.
 */
uint64 *
coupons_open(PriceRules *rules, ArrayType *coupons, bool has_customer, int64 customer_id, TimestampTz at,
			 const Unseen *unseen, TimestampTz *until)
{
	Datum arguments[5] = {PointerGetDatum(coupons), Int64GetDatum(customer_id), TimestampTzGetDatum(at)};
	char unseen_nulls[] = "     ";
	KeptPlan *plan = has_customer ? &coupons_select : &anonymous_coupons_select;
	const char *nulls = NULL;
	uint64 *bits;
	SpiScope scope;
	uint64 n;

	if (ArrayGetNItems(ARR_NDIM(coupons), ARR_DIMS(coupons)) == 0)
		return NULL;
	bits = palloc0(Max(BIT_WORDS(rules->npromotions), 1) * sizeof(uint64));
	if (unseen != NULL)
	{
		plan = &unseen_coupons_select;
		arguments[3] = unseen_datum(unseen);
		arguments[4] = unseen->customers;
		unseen_nulls[1] = has_customer ? ' ' : 'n';
		unseen_nulls[4] = unseen->customers != (Datum) 0 ? ' ' : 'n';
		nulls = unseen_nulls;
	}
	omni_table("coupon");
	spi_scope_begin(&scope, false);
	n = kept_plan_run(plan, arguments, nulls, true, 0);
	for (uint64 i = 0; i < n; i++)
	{
		bool isnull;
		bool usable;
		Span valid;

		if (spi_text(i, 1, CurrentMemoryContext) == NULL)
			refuse_coupon(n);
		usable = DatumGetBool(spi_datum(i, 3, &isnull));
		valid = span_from_range(spi_datum(i, 2, &isnull));
		lower_to_moment(i, 4, until);
		if (!usable)
			continue;
		if (valid.from > at)
			*until = Min(*until, valid.from);
		else if (valid.until > at)
		{
			*until = Min(*until, valid.until);
			set_promotion_bit(rules, i, bits);
		}
	}
	spi_scope_end(&scope);
	return bits;
}

/*
 * promotions_closed returns a bit for each promotion whose limit for one customer this one had reached then, or NULL,
 * and in *until the next moment at which a use began or ended. unseen: as for coupons_open().
 *
 * Reads with the caller's rights, and only where such limits exist.
 */
uint64 *
promotions_closed(PriceRules *rules, int64 customer_id, TimestampTz at, const Unseen *unseen, TimestampTz *until)
{
	Datum arguments[5] = {(Datum) 0, Int64GetDatum(customer_id), TimestampTzGetDatum(at)};
	bool grouped = unseen != NULL && unseen->customers != (Datum) 0;
	uint64 *bits;
	SpiScope scope;
	uint64 n;

	*until = DT_NOEND;
	if (rules->customer_limits == NULL)
		return NULL;
	bits = palloc(BIT_WORDS(rules->npromotions) * sizeof(uint64));
	memcpy(bits, rules->customer_zeros, BIT_WORDS(rules->npromotions) * sizeof(uint64));
	arguments[3] = unseen_datum(unseen);
	arguments[4] = grouped ? unseen->customers : (Datum) 0;
	spi_scope_begin(&scope, false);
	n = kept_plan_run(unseen != NULL ? &unseen_closed_select : &closed_select, arguments, grouped ? "n    " : "n   n",
					  true, 0);
	for (uint64 i = 0; i < n; i++)
	{
		bool isnull;

		if (DatumGetBool(spi_datum(i, 2, &isnull)))
			set_promotion_bit(rules, i, bits);
		lower_to_moment(i, 3, until);
	}
	spi_scope_end(&scope);
	return bits;
}
