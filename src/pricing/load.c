/*
 * load.c
 *	  Products with their prices, read on demand and kept.
 *
 * A product's entry holds the rows of price of all lists and times that name it, sorted, so that every question about
 * it (whoever asks, as of whenever) is answered from memory. Rows for categories and for everything are kept once and
 * linked to. What is not kept yet is found through the indexes, or by a statement where core/look.c says that it must.
 *
 * Any change of price or product voids the whole cache: what is asked for again is read again. The memory is bounded by
 * omnichannel.price_cache: when it is full all is dropped, which costs the hot products one reading each and needs no
 * bookkeeping in the hot path. core/cache.c keeps one former generation alive, so each may use half of the setting.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "pricing/pricing.h"
#include "pricing/rows.h"

int price_cache_size = 64 * 1024;

typedef struct PriceCache
{
	MemoryContext parent;
	MemoryContext context;   /* NULL until something is kept */
	Hoard *hoard;            /* in it */
	bool loading;            /* true outside a load: it was broken off */
	uint64 rules_generation; /* lists and currencies are referred to by place */
	CodeMap products;
	CodeMap categories;
	PriceTarget *everything;
} PriceCache;

/* What one call of the cache's loader is to read. */
typedef struct LoadJob
{
	PriceCache *cache;
	PriceRules *rules;
	text **codes;
	int ncodes;
} LoadJob;

/* Products to be linked. */
typedef struct LinkJob
{
	PriceCache *cache;
	PriceRules *rules;
	Product **products;
	int nproducts;
	Hoard *hoard; /* that they lie in */
} LinkJob;

/* Rows being gathered for a target, in passing memory. */
typedef struct Gathering
{
	PriceTarget *target;
	PriceRow *rows;
	int nrows;
	int space;
} Gathering;

static void *price_build(ConfigCache *cache, MemoryContext context);

static ConfigCache price_cache = {.name = "price", .tables = {"price", "product"}, .build = price_build};

#define PRICE_COLUMNS "r.price_id, r.price_list, r.min_quantity, r.amount, r.adjust, r.surcharge, r.round_to, r.valid"
#define PRODUCT_COLUMN_LIST                                                                                            \
	"p.product, p.parent, p.category::text, p.brand, p.currency, p.cost, p.min_price, p.tax_rate, p.min_margin,"       \
	" p.perishable, p.service"
#define PRODUCT_SELECT                                                                                                 \
	"SELECT " PRICE_COLUMNS ", " PRODUCT_COLUMN_LIST " FROM omnichannel.product p LEFT JOIN omnichannel.price r"       \
	" ON r.product = p.product WHERE p.product = "

static KeptPlan product_select = {.sql = PRODUCT_SELECT "$1", .nargs = 1, .argtypes = {TEXTOID}};

static KeptPlan products_select = {.sql = PRODUCT_SELECT "ANY ($1)", .nargs = 1, .argtypes = {TEXTARRAYOID}};

static KeptPlan categories_select = {
	.sql = "SELECT " PRICE_COLUMNS ", r.category_path FROM omnichannel.price r WHERE r.category_path = ANY ($1)",
	.nargs = 1,
	.argtypes = {TEXTARRAYOID},
};

static KeptPlan everything_select = {
	.sql = "SELECT " PRICE_COLUMNS " FROM omnichannel.price r WHERE r.everything",
};

static void *
price_build(ConfigCache *config, MemoryContext context)
{
	PriceCache *cache = MemoryContextAllocZero(context, sizeof(PriceCache));

	cache->parent = context;
	return cache;
}

/* Makes an empty context for the entries. */
static void
price_cache_open(PriceCache *cache, PriceRules *rules)
{
	MemoryContext context = AllocSetContextCreate(cache->parent, "omnichannel prices", ALLOCSET_DEFAULT_SIZES);

	code_map_init(&cache->products, context, 16);
	code_map_init(&cache->categories, context, 16);
	cache->hoard = MemoryContextAllocZero(context, sizeof(Hoard));
	cache->hoard->context = context;
	cache->everything = NULL;
	cache->loading = false;
	cache->rules_generation = rules->generation;
	cache->context = context;
}

/* Drops all entries. */
static void
price_cache_drop(PriceCache *cache)
{
	MemoryContext context = cache->context;

	cache->context = NULL;
	if (context != NULL)
		config_cache_discard(context);
}

/* Adds a row of price to what is gathered, unless its list is too new for the rules: their message is due. */
static void
gather_row(PriceCache *cache, PriceRules *rules, Gathering *gathering, const Datum *values, const bool *nulls)
{
	int list = price_list_find(rules, DatumGetTextPP(values[ROW_LIST]));

	if (list < 0)
		return;
	if (gathering->nrows == gathering->space)
	{
		gathering->space = gathering->space == 0 ? 8 : gathering->space * 2;
		gathering->rows = gathering->rows == NULL ? palloc(gathering->space * sizeof(PriceRow))
												  : repalloc_huge(gathering->rows, gathering->space * sizeof(PriceRow));
	}
	price_row_read(&gathering->rows[gathering->nrows++], list, values, nulls, cache->context);
}

/* Sorts what was gathered and keeps it; gathers anew for the next target. */
static void
keep_rows(PriceCache *cache, Gathering *gathering)
{
	PriceTarget *target = gathering->target;

	target->nrows = gathering->nrows;
	target->rows = NULL;
	if (target->nrows > 1)
		qsort(gathering->rows, target->nrows, sizeof(PriceRow), price_rows_compare);
	if (target->nrows > 0)
	{
		target->rows = hoard_alloc(cache->hoard, mul_size(target->nrows, sizeof(PriceRow)));
		memcpy(target->rows, gathering->rows, target->nrows * sizeof(PriceRow));
	}
	gathering->nrows = 0;
}

static Product *
find_product(PriceCache *cache, const char *code, uint32 length)
{
	return code_map_get(&cache->products, code, length);
}

/* Makes the entry of the product that a row tells of, and enters it, linked to nothing yet. */
static Product *
enter_product(PriceCache *cache, PriceRules *rules, const Datum *values, const bool *nulls)
{
	Product *product = product_read(rules, values, nulls, cache->hoard);

	product->hoard = cache->hoard;
	code_map_put(&cache->products, product->target.code, product->target.length, product);
	return product;
}

/* Returns codes as a text[]. */
static Datum
codes_array(text **codes, int ncodes)
{
	return PointerGetDatum(construct_array((Datum *) codes, ncodes, TEXTOID, -1, false, TYPALIGN_INT));
}

/* Splits a row of the last result into its columns. */
static void
row_values(uint64 row, Datum *values, bool *nulls)
{
	heap_deform_tuple(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, values, nulls);
}

/* Reads products that are not kept yet by a statement; returns those it found. */
static List *
select_products(PriceCache *cache, PriceRules *rules, text **codes, int ncodes)
{
	Datum argument = ncodes == 1 ? PointerGetDatum(codes[0]) : codes_array(codes, ncodes);
	uint64 n = kept_plan_run(ncodes == 1 ? &product_select : &products_select, &argument, NULL, true, 0);
	CodeMap found;
	Gathering *gathering = NULL;
	List *gatherings = NIL;
	List *products = NIL;

	code_map_init(&found, CurrentMemoryContext, ncodes);
	for (uint64 i = 0; i < n; i++)
	{
		Datum values[ROW_COLUMNS + PRODUCT_COLUMNS];
		bool nulls[ROW_COLUMNS + PRODUCT_COLUMNS];
		text *code;
		uint32 length;

		row_values(i, values, nulls);
		code = DatumGetTextPP(values[ROW_COLUMNS + PRODUCT_CODE]);
		length = VARSIZE_ANY_EXHDR(code);
		/* Rows of one product follow one another in the plans that matter, but nothing says that they must. */
		if (gathering == NULL || gathering->target->length != length ||
			memcmp(gathering->target->code, VARDATA_ANY(code), length) != 0)
			gathering = code_map_get(&found, VARDATA_ANY(code), length);
		if (gathering == NULL)
		{
			Product *product = enter_product(cache, rules, values + ROW_COLUMNS, nulls + ROW_COLUMNS);

			gathering = palloc0(sizeof(Gathering));
			gathering->target = &product->target;
			gatherings = lappend(gatherings, gathering);
			code_map_put(&found, product->target.code, length, gathering);
			products = lappend(products, product);
		}
		/* All NULL: a product without prices. */
		if (!nulls[ROW_LIST])
			gather_row(cache, rules, gathering, values, nulls);
	}
	foreach_ptr (Gathering, gathered, gatherings)
		keep_rows(cache, gathered);
	return products;
}

/* Reads the rows of a target through an open scan that was begun with its code. */
static void
scan_rows(PriceCache *cache, PriceRules *rules, LookScan *scan, Gathering *gathering)
{
	Datum values[ROW_COLUMNS];
	bool nulls[ROW_COLUMNS];

	while (look_next(scan, false, values, nulls))
		gather_row(cache, rules, gathering, values, nulls);
	keep_rows(cache, gathering);
}

/* Orders codes as the indexes mostly have them. */
static int
compare_codes(const void *a, const void *b)
{
	const text *left = *(text *const *) a;
	const text *right = *(text *const *) b;
	int left_length = VARSIZE_ANY_EXHDR(left);
	int right_length = VARSIZE_ANY_EXHDR(right);
	int order = memcmp(VARDATA_ANY(left), VARDATA_ANY(right), Min(left_length, right_length));

	return order != 0 ? order : left_length - right_length;
}

/* So many of them may lie side by side. */
#define CODES_TO_FOLLOW 4

/* Begins with the rows of a code, one of so many. */
static void
seek(LookScan *scan, text *code, int ncodes)
{
	Datum argument = PointerGetDatum(code);

	if (ncodes < CODES_TO_FOLLOW)
		look_find(scan, &argument);
	else
		look_follow(scan, argument);
}

/* Does what select_products() does through open scans of both tables; puts the codes in order. */
static List *
scan_products(PriceCache *cache, PriceRules *rules, LookScan *scan, LookScan *prices, text **codes, int ncodes)
{
	Gathering gathering = {NULL};
	List *products = NIL;

	if (ncodes >= CODES_TO_FOLLOW)
		qsort(codes, ncodes, sizeof(text *), compare_codes);
	for (int i = 0; i < ncodes; i++)
	{
		Datum values[PRODUCT_COLUMNS];
		bool nulls[PRODUCT_COLUMNS];
		Product *product;

		/* A page may name one twice. */
		if (find_product(cache, VARDATA_ANY(codes[i]), VARSIZE_ANY_EXHDR(codes[i])) != NULL)
			continue;
		seek(scan, codes[i], ncodes);
		if (!look_next(scan, false, values, nulls))
			continue;
		product = enter_product(cache, rules, values, nulls);
		products = lappend(products, product);
		gathering.target = &product->target;
		seek(prices, codes[i], ncodes);
		scan_rows(cache, rules, prices, &gathering);
	}
	return products;
}

/* Returns the target of a category, with those above it; missing ones are entered, and appended to *unread. */
static PriceTarget *
category_target(PriceCache *cache, const PriceRules *rules, const char *path, uint32 length, List **unread)
{
	PriceTarget *target = code_map_get(&cache->categories, path, length);

	if (target == NULL)
	{
		uint32 above = length;

		check_stack_depth();
		while (above > 0 && path[above - 1] != '.')
			above--;
		target = MemoryContextAllocZero(cache->context, sizeof(PriceTarget) + length);
		target->code = memcpy(target + 1, path, length);
		target->length = length;
		target->wider = above == 0 ? cache->everything : category_target(cache, rules, path, above - 1, unread);
		target->promotions = promotions_of_category(rules, path, length);
		code_map_put(&cache->categories, target->code, length, target);
		*unread = lappend(*unread, target);
	}
	return target;
}

/* Reads the rows of categories by a statement. */
static void
select_categories(PriceCache *cache, PriceRules *rules, List *targets)
{
	text **codes = palloc(list_length(targets) * sizeof(text *));
	Gathering *gatherings = palloc0(list_length(targets) * sizeof(Gathering));
	CodeMap wanted;
	Datum argument;
	uint64 n;
	int ncodes = 0;

	code_map_init(&wanted, CurrentMemoryContext, list_length(targets));
	foreach_ptr (PriceTarget, target, targets)
	{
		gatherings[ncodes].target = target;
		code_map_put(&wanted, target->code, target->length, &gatherings[ncodes]);
		codes[ncodes++] = cstring_to_text_with_len(target->code, target->length);
	}
	argument = codes_array(codes, ncodes);
	n = kept_plan_run(&categories_select, &argument, NULL, true, 0);
	for (uint64 i = 0; i < n; i++)
	{
		Datum values[ROW_COLUMNS + 1];
		bool nulls[ROW_COLUMNS + 1];
		text *code;

		row_values(i, values, nulls);
		code = DatumGetTextPP(values[ROW_COLUMNS]);
		gather_row(cache, rules, code_map_get(&wanted, VARDATA_ANY(code), VARSIZE_ANY_EXHDR(code)), values, nulls);
	}
	for (int i = 0; i < ncodes; i++)
		keep_rows(cache, &gatherings[i]);
}

/* Reads the rows of categories, through the index where that is possible. */
static void
read_categories(PriceCache *cache, PriceRules *rules, List *targets, bool scans)
{
	LookScan scan;

	if (scans && look_open(&scan, &category_price_look, 1, GetActiveSnapshot()))
	{
		Gathering gathering = {NULL};

		foreach_ptr (PriceTarget, target, targets)
		{
			gathering.target = target;
			seek(&scan, cstring_to_text_with_len(target->code, target->length), 1);
			scan_rows(cache, rules, &scan, &gathering);
		}
		look_end(&scan);
	}
	else
	{
		SpiScope scope;

		spi_scope_begin(&scope, scans);
		select_categories(cache, rules, targets);
		spi_scope_end(&scope);
	}
}

/* Reads the rows for everything. */
static void
read_everything(PriceCache *cache, PriceRules *rules, bool as_owner)
{
	PriceTarget *target = MemoryContextAllocZero(cache->context, sizeof(PriceTarget));
	Gathering gathering = {target};
	SpiScope scope;
	uint64 n;

	spi_scope_begin(&scope, as_owner);
	n = kept_plan_run(&everything_select, NULL, NULL, true, 0);
	for (uint64 i = 0; i < n; i++)
	{
		Datum values[ROW_COLUMNS];
		bool nulls[ROW_COLUMNS];

		row_values(i, values, nulls);
		gather_row(cache, rules, &gathering, values, nulls);
	}
	keep_rows(cache, &gathering);
	spi_scope_end(&scope);
	target->code = "";
	cache->everything = target;
}

/* Links a product, which lies in the hoard, to its category and promotions. Its ancestors are linked. */
static void
complete_product(PriceCache *cache, PriceRules *rules, Product *product, Hoard *hoard, List **unread)
{
	product_inherit(product);
	product->wider = product->category != NULL && product->category[0] != '\0'
						 ? category_target(cache, rules, product->category, strlen(product->category), unread)
						 : cache->everything;
	promotions_of(rules, product, hoard);
}

/* Reads the products, their ancestors and the categories of all. */
static void
price_load(ConfigCache *config, void *arg)
{
	LoadJob *job = arg;
	PriceCache *cache = job->cache;
	PriceRules *rules = job->rules;
	text **codes = job->codes;
	int ncodes = job->ncodes;
	bool as_owner = config->fill_as_owner;
	LookScan product_scan;
	LookScan price_scan;
	bool scans = false;
	MemoryContext passing = CurrentMemoryContext;
	SpiScope scope;
	List *fresh = NIL;
	List *unread = NIL;

	cache->loading = true;
	if (cache->everything == NULL)
		read_everything(cache, rules, as_owner);
	if (as_owner && look_open(&product_scan, &product_look, 1, GetActiveSnapshot()))
	{
		scans = look_open(&price_scan, &product_price_look, 1, GetActiveSnapshot());
		if (!scans)
			look_end(&product_scan);
	}
	if (!scans)
		spi_scope_begin(&scope, as_owner);

	/* Level by level of variants. */
	while (ncodes > 0)
	{
		List *level = scans ? scan_products(cache, rules, &product_scan, &price_scan, codes, ncodes)
							: select_products(cache, rules, codes, ncodes);
		MemoryContext old = MemoryContextSwitchTo(passing);

		fresh = list_concat(fresh, level);
		codes = palloc(Max(list_length(level), 1) * sizeof(text *));
		ncodes = 0;
		foreach_ptr (Product, variant, level)
			if (variant->parent_code != NULL &&
				find_product(cache, variant->parent_code, strlen(variant->parent_code)) == NULL)
				codes[ncodes++] = cstring_to_text(variant->parent_code);
		MemoryContextSwitchTo(old);
	}
	if (scans)
	{
		look_end(&price_scan);
		look_end(&product_scan);
	}
	else
		spi_scope_end(&scope);

	foreach_ptr (Product, product, fresh)
		if (product->parent_code != NULL)
			product->parent = find_product(cache, product->parent_code, strlen(product->parent_code));
	foreach_ptr (Product, product, fresh)
		complete_product(cache, rules, product, cache->hoard, &unread);
	if (unread != NIL)
		read_categories(cache, rules, unread, as_owner);
	cache->loading = false;
}

/* Returns the cache, emptied where it must be, and open. */
static PriceCache *
price_cache_get(PriceRules *rules)
{
	PriceCache *cache = unconstify(PriceCache *, (const PriceCache *) config_cache_get(&price_cache));

	/* A load that was broken off leaves entries without their rows. */
	if (cache->context != NULL &&
		(cache->loading || cache->rules_generation != rules->generation ||
		 MemoryContextMemAllocated(cache->context, false) > (Size) price_cache_size * 1024 / 2))
		price_cache_drop(cache);
	if (cache->context == NULL)
		price_cache_open(cache, rules);
	return cache;
}

/* Finds products in the cache, and reads what is missing. */
static void
find_products(PriceCache *cache, PriceRules *rules, text **codes, int ncodes, const Product **products)
{
	text **missing = NULL;
	int nmissing = 0;

	for (int i = 0; i < ncodes; i++)
	{
		products[i] = find_product(cache, VARDATA_ANY(codes[i]), VARSIZE_ANY_EXHDR(codes[i]));
		if (products[i] == NULL)
		{
			if (missing == NULL)
				missing = palloc(ncodes * sizeof(text *));
			missing[nmissing++] = codes[i];
		}
	}
	if (nmissing > 0)
	{
		LoadJob job = {cache, rules, missing, nmissing};

		config_cache_read(&price_cache, price_load, &job);
		for (int i = 0; i < ncodes; i++)
			if (products[i] == NULL)
				products[i] = find_product(cache, VARDATA_ANY(codes[i]), VARSIZE_ANY_EXHDR(codes[i]));
		pfree(missing);
	}
}

/*
 * products_get finds the products of these codes, with their prices as they are now; NULL for one that is not known.
 *
 * Good until the next call, and as long as the rules. Raises 55000 before setup(), 42501 for a role that may not read
 * the tables.
 */
void
products_get(PriceRules *rules, text **codes, int ncodes, const Product **products)
{
	find_products(price_cache_get(rules), rules, codes, ncodes, products);
}

/* Links products that are not kept to those that are, and reads what is missing for that. */
static void
link_load(ConfigCache *config, void *arg)
{
	LinkJob *job = arg;
	PriceCache *cache = job->cache;
	List *unread = NIL;

	cache->loading = true;
	if (cache->everything == NULL)
		read_everything(cache, job->rules, config->fill_as_owner);
	for (int i = 0; i < job->nproducts; i++)
		complete_product(cache, job->rules, job->products[i], job->hoard, &unread);
	if (unread != NIL)
		read_categories(cache, job->rules, unread, config->fill_as_owner);
	cache->loading = false;
}

/*
 * products_link readies products that the caller has read, with their own rows, for questions.
 *
 * They lie in the hoard, and are good until the next call of this function or products_get(). Parents that
 * they are not linked to are found as products_get() does. At most PRODUCTS_AT_A_TIME. Raises what products_get()
 * raises.
 */
void
products_link(PriceRules *rules, Product **products, int nproducts, Hoard *hoard)
{
	PriceCache *cache = price_cache_get(rules);
	LinkJob job = {cache, rules, products, nproducts, hoard};
	text *codes[PRODUCTS_AT_A_TIME];
	const Product *parents[PRODUCTS_AT_A_TIME];
	int nparents = 0;

	for (int i = 0; i < nproducts; i++)
		if (products[i]->parent == NULL && products[i]->parent_code != NULL)
			codes[nparents++] = cstring_to_text(products[i]->parent_code);
	find_products(cache, rules, codes, nparents, parents);
	nparents = 0;
	for (int i = 0; i < nproducts; i++)
		if (products[i]->parent == NULL && products[i]->parent_code != NULL)
			products[i]->parent = unconstify(Product *, parents[nparents++]);
	config_cache_read(&price_cache, link_load, &job);
}

/* products_scannable returns whether whole tables may be read by scans: with everyone's rights, and held here. */
bool
products_scannable(PriceRules *rules)
{
	(void) price_cache_get(rules);
	return price_cache.fill_as_owner;
}

/* reference_keep remembers the prior price found last for a product that is kept. */
void
reference_keep(const Product *product, const ReferencePrice *reference)
{
	Product *kept = unconstify(Product *, product);

	if (kept->reference == NULL)
		kept->reference = hoard_alloc(kept->hoard, sizeof(ReferencePrice));
	*kept->reference = *reference;
}
