/*
 * load.c
 *	  Products with their prices, read on demand and kept.
 *
 * A product's entry holds the rows of price of all lists and times that name it, sorted, so that every question about
 * it (whoever asks, as of whenever) is answered from memory. Rows for categories and for everything are kept once and
 * linked to. A product is read by one statement; a page of products that are not kept yet also takes one.
 *
 * Any change of price or product voids the whole cache: what is asked for again is read again. The memory is bounded by
 * omnichannel.price_cache: when it is full all is dropped, which costs the hot products one reading each and needs no
 * bookkeeping in the hot path. core/cache.c keeps one former generation alive, so each may use half of the setting.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "pricing/pricing.h"

int price_cache_size = 64 * 1024;

typedef struct PriceCache
{
	MemoryContext parent;
	MemoryContext context;   /* NULL until something is kept */
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

/* Rows being gathered for a target. */
typedef struct Gathering
{
	PriceTarget *target;
	int space;
	struct Gathering *next;
} Gathering;

static void *price_build(ConfigCache *cache, MemoryContext context);

static ConfigCache price_cache = {.name = "price", .tables = {"price", "product"}, .build = price_build};

#define PRICE_COLUMNS "r.price_id, r.price_list, r.min_quantity, r.amount, r.adjust, r.surcharge, r.round_to, r.valid"
#define PRODUCT_COLUMNS                                                                                                \
	"p.product, p.parent, p.category::text, p.brand, p.currency, p.cost, p.min_price, p.tax_rate, p.min_margin,"       \
	" p.perishable, p.service"
#define PRODUCT_SELECT                                                                                                 \
	"SELECT " PRICE_COLUMNS ", " PRODUCT_COLUMNS " FROM omnichannel.product p LEFT JOIN omnichannel.price r"           \
	" ON r.product = p.product WHERE p.product = "

enum
{
	ROW_ID = 1,
	ROW_LIST,
	ROW_MIN_QUANTITY,
	ROW_AMOUNT,
	ROW_ADJUST,
	ROW_SURCHARGE,
	ROW_ROUND_TO,
	ROW_VALID,
	ROW_PRODUCT,
	ROW_CATEGORY_PATH = ROW_PRODUCT,
	ROW_PARENT,
	ROW_CATEGORY,
	ROW_BRAND,
	ROW_CURRENCY,
	ROW_COST,
	ROW_MIN_PRICE,
	ROW_TAX_RATE,
	ROW_MIN_MARGIN,
	ROW_PERISHABLE,
	ROW_SERVICE
};

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
		MemoryContextDelete(context);
}

/* Adds a row of the last result to what is gathered, unless its list is too new for the rules: their message is due. */
static void
gather_row(PriceCache *cache, PriceRules *rules, Gathering *gathering, uint64 row)
{
	PriceTarget *target = gathering->target;
	MemoryContext context = cache->context;
	bool isnull;
	Datum code = spi_datum(row, ROW_LIST, &isnull);
	text *list_code;
	const PriceList *list;
	PriceRow *price;
	bool adjusts;
	bool surcharges;
	bool present;

	if (isnull)
		return;
	list_code = DatumGetTextPP(code);
	list = code_map_get(&rules->lists_by_code, VARDATA_ANY(list_code), VARSIZE_ANY_EXHDR(list_code));
	if (list == NULL)
		return;

	if (target->nrows == gathering->space)
	{
		gathering->space = gathering->space == 0 ? 4 : gathering->space * 2;
		target->rows = target->rows == NULL ? palloc(gathering->space * sizeof(PriceRow))
											: repalloc_huge(target->rows, gathering->space * sizeof(PriceRow));
	}
	price = &target->rows[target->nrows];
	price->id = DatumGetInt64(spi_datum(row, ROW_ID, &isnull));
	price->list = list->number;
	price->min_quantity = spi_keep_money(row, ROW_MIN_QUANTITY, context, &present);
	price->amount = spi_keep_money(row, ROW_AMOUNT, context, &present);
	price->adjusts = !present;
	price->factor = spi_keep_money(row, ROW_ADJUST, context, &adjusts);
	price->surcharge = spi_keep_money(row, ROW_SURCHARGE, context, &surcharges);
	price->round_to = spi_keep_money(row, ROW_ROUND_TO, context, &present);
	price->valid = span_from_range(spi_datum(row, ROW_VALID, &isnull));
	target->nrows++;
}

/* Orders rows by list, then min_quantity and start, the greatest first, then id. */
static int
compare_rows(const void *a, const void *b)
{
	const PriceRow *left = a;
	const PriceRow *right = b;
	int order;

	if (left->list != right->list)
		return left->list < right->list ? -1 : 1;
	if ((order = money_compare(right->min_quantity, left->min_quantity)) != 0)
		return order;
	if (left->valid.from != right->valid.from)
		return left->valid.from > right->valid.from ? -1 : 1;
	return left->id < right->id ? -1 : left->id > right->id;
}

/* Sorts what was gathered and keeps it. Percentages become factors here, outside SPI's memory. */
static void
keep_rows(PriceCache *cache, PriceTarget *target)
{
	PriceRow *rows = target->rows;
	MemoryContext old = MemoryContextSwitchTo(cache->context);
	const Money hundredth = {MONEY_ONE / 100, NULL};

	for (int i = 0; i < target->nrows; i++)
		rows[i].factor = money_add(money_of_int(1), money_multiply(rows[i].factor, hundredth));
	if (target->nrows > 1)
		qsort(rows, target->nrows, sizeof(PriceRow), compare_rows);
	target->rows = NULL;
	if (target->nrows > 0)
	{
		target->rows = MemoryContextAllocHuge(cache->context, mul_size(target->nrows, sizeof(PriceRow)));
		memcpy(target->rows, rows, target->nrows * sizeof(PriceRow));
	}
	MemoryContextSwitchTo(old);
}

/* Makes the entry of the product that a row of the last result tells of. */
static Product *
make_product(PriceCache *cache, PriceRules *rules, uint64 row)
{
	MemoryContext context = cache->context;
	Product *product = MemoryContextAllocZero(context, sizeof(Product));
	bool isnull;

	product->code_text = spi_keep_text(row, ROW_PRODUCT, context);
	product->target.code = VARDATA_ANY(product->code_text);
	product->target.length = VARSIZE_ANY_EXHDR(product->code_text);
	product->parent_code = spi_text(row, ROW_PARENT, context);
	product->category = spi_text(row, ROW_CATEGORY, context);
	product->brand = spi_text(row, ROW_BRAND, context);
	product->currency = currency_find(rules, DatumGetTextPP(spi_datum(row, ROW_CURRENCY, &isnull)));
	product->cost = spi_keep_money(row, ROW_COST, context, &product->has_cost);
	product->min_price = spi_keep_money(row, ROW_MIN_PRICE, context, &product->has_min_price);
	product->tax_rate = spi_keep_money(row, ROW_TAX_RATE, context, &product->has_tax_rate);
	product->min_margin = spi_keep_money(row, ROW_MIN_MARGIN, context, &product->has_min_margin);
	product->perishable = DatumGetBool(spi_datum(row, ROW_PERISHABLE, &isnull));
	product->service = DatumGetBool(spi_datum(row, ROW_SERVICE, &isnull));
	return product;
}

/* Returns codes as a text[]. */
static Datum
codes_array(text **codes, int ncodes)
{
	return PointerGetDatum(construct_array((Datum *) codes, ncodes, TEXTOID, -1, false, TYPALIGN_INT));
}

/* Reads products that are not kept yet; returns those it found, linked to nothing yet. */
static List *
read_products(PriceCache *cache, PriceRules *rules, text **codes, int ncodes)
{
	Datum argument = ncodes == 1 ? PointerGetDatum(codes[0]) : codes_array(codes, ncodes);
	uint64 n = kept_plan_run(ncodes == 1 ? &product_select : &products_select, &argument, NULL, true, 0);
	CodeMap found;
	Gathering *gathering = NULL;
	List *products = NIL;

	code_map_init(&found, CurrentMemoryContext, ncodes);
	for (uint64 i = 0; i < n; i++)
	{
		bool isnull;
		text *code = DatumGetTextPP(spi_datum(i, ROW_PRODUCT, &isnull));
		uint32 length = VARSIZE_ANY_EXHDR(code);

		/* Rows of one product follow one another in the plans that matter, but nothing says that they must. */
		if (gathering == NULL || gathering->target->length != length ||
			memcmp(gathering->target->code, VARDATA_ANY(code), length) != 0)
			gathering = code_map_get(&found, VARDATA_ANY(code), length);
		if (gathering == NULL)
		{
			Product *product = make_product(cache, rules, i);

			gathering = palloc0(sizeof(Gathering));
			gathering->target = &product->target;
			code_map_put(&found, product->target.code, length, gathering);
			products = lappend(products, product);
		}
		gather_row(cache, rules, gathering, i);
	}
	foreach_ptr (Product, product, products)
		keep_rows(cache, &product->target);
	return products;
}

/* Returns the target of a category, with those above it; missing ones are entered, and appended to *unread. */
static PriceTarget *
category_target(PriceCache *cache, const char *path, uint32 length, List **unread)
{
	PriceTarget *target = code_map_get(&cache->categories, path, length);

	if (target == NULL)
	{
		uint32 above = length;

		while (above > 0 && path[above - 1] != '.')
			above--;
		target = MemoryContextAllocZero(cache->context, sizeof(PriceTarget));
		target->code = path;
		target->length = length;
		target->wider = above == 0 ? cache->everything : category_target(cache, path, above - 1, unread);
		code_map_put(&cache->categories, path, length, target);
		*unread = lappend(*unread, target);
	}
	return target;
}

/* Reads the rows of categories. */
static void
read_categories(PriceCache *cache, PriceRules *rules, List *targets)
{
	text **codes = palloc(list_length(targets) * sizeof(text *));
	CodeMap wanted;
	Datum argument;
	uint64 n;
	int ncodes = 0;

	code_map_init(&wanted, CurrentMemoryContext, list_length(targets));
	foreach_ptr (PriceTarget, target, targets)
	{
		Gathering *gathering = palloc0(sizeof(Gathering));

		gathering->target = target;
		code_map_put(&wanted, target->code, target->length, gathering);
		codes[ncodes++] = cstring_to_text_with_len(target->code, target->length);
	}
	argument = codes_array(codes, ncodes);
	n = kept_plan_run(&categories_select, &argument, NULL, true, 0);
	for (uint64 i = 0; i < n; i++)
	{
		bool isnull;
		text *code = DatumGetTextPP(spi_datum(i, ROW_CATEGORY_PATH, &isnull));

		gather_row(cache, rules, code_map_get(&wanted, VARDATA_ANY(code), VARSIZE_ANY_EXHDR(code)), i);
	}
	foreach_ptr (PriceTarget, target, targets)
		keep_rows(cache, target);
}

/* Reads the rows for everything. */
static void
read_everything(PriceCache *cache, PriceRules *rules)
{
	PriceTarget *target = MemoryContextAllocZero(cache->context, sizeof(PriceTarget));
	Gathering gathering = {target};
	uint64 n = kept_plan_run(&everything_select, NULL, NULL, true, 0);

	for (uint64 i = 0; i < n; i++)
		gather_row(cache, rules, &gathering, i);
	keep_rows(cache, target);
	target->code = "";
	cache->everything = target;
}

/* Gives a variant what it does not have of its own, and links a product to its category. */
static void
complete_product(PriceCache *cache, PriceRules *rules, Product *product, List **unread)
{
	Product *parent = product->parent;

	if (product->wider != NULL)
		return;
	product->wider = cache->everything;
	if (parent != NULL)
	{
		complete_product(cache, rules, parent, unread);
		if (product->category == NULL)
			product->category = parent->category;
		if (product->brand == NULL)
			product->brand = parent->brand;
		/* The currency goes with the amounts that it is of. */
		if (!product->has_cost && !product->has_min_price)
			product->currency = parent->currency;
		if (product->currency == parent->currency && !product->has_cost)
		{
			product->cost = parent->cost;
			product->has_cost = parent->has_cost;
		}
		if (product->currency == parent->currency && !product->has_min_price)
		{
			product->min_price = parent->min_price;
			product->has_min_price = parent->has_min_price;
		}
		if (!product->has_min_margin)
		{
			product->min_margin = parent->min_margin;
			product->has_min_margin = parent->has_min_margin;
		}
		if (!product->has_tax_rate)
		{
			product->tax_rate = parent->tax_rate;
			product->has_tax_rate = parent->has_tax_rate;
		}
	}
	if (product->category != NULL && product->category[0] != '\0')
		product->wider = category_target(cache, product->category, strlen(product->category), unread);
	if (rules->npromotions > 0)
	{
		product->promotions = MemoryContextAllocZero(cache->context, BIT_WORDS(rules->npromotions) * sizeof(uint64));
		promotions_of(rules, product);
	}
}

static Product *
find_product(PriceCache *cache, const char *code, uint32 length)
{
	return code_map_get(&cache->products, code, length);
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
	List *fresh = NIL;
	List *unread = NIL;

	cache->loading = true;
	if (cache->everything == NULL)
		read_everything(cache, rules);

	/* One statement a level of variants. */
	while (ncodes > 0)
	{
		List *level = read_products(cache, rules, codes, ncodes);

		foreach_ptr (Product, product, level)
			code_map_put(&cache->products, product->target.code, product->target.length, product);
		fresh = list_concat(fresh, level);
		codes = palloc(Max(list_length(level), 1) * sizeof(text *));
		ncodes = 0;
		foreach_ptr (Product, variant, level)
			if (variant->parent_code != NULL &&
				find_product(cache, variant->parent_code, strlen(variant->parent_code)) == NULL)
				codes[ncodes++] = cstring_to_text(variant->parent_code);
	}
	foreach_ptr (Product, product, fresh)
		if (product->parent_code != NULL)
			product->parent = find_product(cache, product->parent_code, strlen(product->parent_code));
	foreach_ptr (Product, product, fresh)
		complete_product(cache, rules, product, &unread);
	if (unread != NIL)
		read_categories(cache, rules, unread);
	cache->loading = false;
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
	PriceCache *cache = unconstify(PriceCache *, (const PriceCache *) config_cache_get(&price_cache));
	text **missing = NULL;
	int nmissing = 0;

	/* A load that was broken off leaves entries without their rows. */
	if (cache->context != NULL &&
		(cache->loading || cache->rules_generation != rules->generation ||
		 MemoryContextMemAllocated(cache->context, false) > (Size) price_cache_size * 1024 / 2))
		price_cache_drop(cache);
	if (cache->context == NULL)
		price_cache_open(cache, rules);

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

		config_cache_load(&price_cache, price_load, &job);
		for (int i = 0; i < ncodes; i++)
			if (products[i] == NULL)
				products[i] = find_product(cache, VARDATA_ANY(codes[i]), VARSIZE_ANY_EXHDR(codes[i]));
		pfree(missing);
	}
}

/* reference_keep remembers the prior price found last for a product that products_get() has returned. */
void
reference_keep(const Product *product, const ReferencePrice *reference)
{
	Product *kept = unconstify(Product *, product);

	if (kept->reference == NULL)
		kept->reference = MemoryContextAlloc(GetMemoryChunkContext(kept), sizeof(ReferencePrice));
	*kept->reference = *reference;
}
