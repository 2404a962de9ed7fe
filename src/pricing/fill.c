/*
 * fill.c
 *	  Products with their prices, read into the session's cache.
 *
 * They are found through the indexes, or by a statement where core/look.c says that it must. A load that is broken off
 * leaves cache->loading set: what it entered lacks its rows.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "pricing/fill.h"
#include "pricing/rows.h"

/* Rows being gathered for a target, in passing memory. */
typedef struct Gathering
{
	PriceTarget *target;
	PriceRow *rows;
	int nrows;
	int space;
} Gathering;

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

/* Adds a row of price to what is gathered, unless its list is too new for the rules: their message is due. */
static void
gather_row(PriceCache *cache, PriceRules *rules, Gathering *gathering, const Datum *values, const bool *nulls)
{
	int list = price_list_find(rules, (const text *) packed_value(values[ROW_LIST]));

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

/* So many rows are put in order one by one. */
#define FEW_ROWS 16

/* Keeps what was gathered, in order; gathers anew for the next target. */
static void
keep_rows(PriceCache *cache, Gathering *gathering)
{
	PriceTarget *target = gathering->target;
	int n = gathering->nrows;
	PriceRow *rows = NULL;

	if (n > 0)
		rows = hoard_alloc(cache->hoard, mul_size(n, sizeof(PriceRow)));
	if (n <= FEW_ROWS)
		for (int i = 0; i < n; i++)
		{
			int place = i;

			for (; place > 0 && price_rows_compare(&gathering->rows[i], &rows[place - 1]) < 0; place--)
				rows[place] = rows[place - 1];
			rows[place] = gathering->rows[i];
		}
	else
	{
		memcpy(rows, gathering->rows, n * sizeof(PriceRow));
		qsort(rows, n, sizeof(PriceRow), price_rows_compare);
	}
	target->nrows = n;
	target->rows = rows;
	gathering->nrows = 0;
}

/* Makes the entry of the product that a row tells of, and enters it, linked to nothing yet. */
static Product *
enter_product(PriceCache *cache, PriceRules *rules, const Datum *values, const bool *nulls)
{
	Product *product = product_read(rules, values, nulls, cache->hoard);

	product->hoard = cache->hoard;
	code_map_put_hashed(&cache->products, product->target.code, product->target.length, product->target.hash, product);
	return product;
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
	Datum argument = ncodes == 1 ? PointerGetDatum(codes[0]) : array_of((Datum *) codes, NULL, ncodes, TEXTOID);
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
	Datum values[LOOK_ROWS * ROW_COLUMNS];
	bool nulls[LOOK_ROWS * ROW_COLUMNS];
	int n;

	while ((n = look_next_rows(scan, values, nulls)) > 0)
		for (int i = 0; i < n; i++)
			gather_row(cache, rules, gathering, &values[i * ROW_COLUMNS], &nulls[i * ROW_COLUMNS]);
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

/* Begins with the rows of a code: those that come in the order of the index are found side by side. */
static void
seek(LookScan *scan, text *code)
{
	Datum argument = PointerGetDatum(code);

	look_find(scan, &argument);
}

/* What a product mostly takes, and a handful of prices. */
#define PRODUCT_BYTES 384
#define PRICES_BYTES 384

/* Puts codes in order, each once, and tells the scan of them; returns how many they are. */
static int
expect_codes(LookScan *scan, text **codes, int ncodes)
{
	int n = 0;

	if (ncodes > 1)
		qsort(codes, ncodes, sizeof(text *), compare_codes);
	/* A page may name one twice. */
	for (int i = 0; i < ncodes; i++)
		if (n == 0 || compare_codes(&codes[n - 1], &codes[i]) != 0)
			codes[n++] = codes[i];
	look_expect(scan, (const Datum *) codes, n);
	return n;
}

/* Reads products that are not kept yet through an open scan, without their prices; returns those it found. */
static List *
scan_products(PriceCache *cache, PriceRules *rules, LookScan *scan, text **codes, int ncodes)
{
	List *products = NIL;

	ncodes = expect_codes(scan, codes, ncodes);
	for (int i = 0; i < ncodes; i++)
	{
		Datum values[PRODUCT_COLUMNS];
		bool nulls[PRODUCT_COLUMNS];

		hoard_prefetch(cache->hoard, PRODUCT_BYTES);
		seek(scan, codes[i]);
		if (look_next(scan, false, values, nulls))
			products = lappend(products, enter_product(cache, rules, values, nulls));
	}
	return products;
}

/* Returns the products of two lists, each in order, in order. */
static List *
merge_products(List *left, List *right)
{
	List *merged = NIL;
	int i = 0;
	int j = 0;

	if (left == NIL || right == NIL)
		return left == NIL ? right : left;
	while (i < list_length(left) || j < list_length(right))
	{
		Product *a = i < list_length(left) ? list_nth(left, i) : NULL;
		Product *b = j < list_length(right) ? list_nth(right, j) : NULL;

		if (b == NULL || (a != NULL && compare_codes(&a->code_text, &b->code_text) < 0))
		{
			merged = lappend(merged, a);
			i++;
		}
		else
		{
			merged = lappend(merged, b);
			j++;
		}
	}
	return merged;
}

/* Reads the prices of products, which are in order, through an open scan. */
static void
scan_prices(PriceCache *cache, PriceRules *rules, LookScan *scan, List *products)
{
	Gathering gathering = {NULL};
	Datum *codes = palloc(Max(list_length(products), 1) * sizeof(Datum));
	int ncodes = 0;

	foreach_ptr (Product, product, products)
		codes[ncodes++] = PointerGetDatum(product->code_text);
	look_expect(scan, codes, ncodes);
	foreach_ptr (Product, product, products)
	{
		hoard_prefetch(cache->hoard, PRICES_BYTES);
		gathering.target = &product->target;
		seek(scan, product->code_text);
		scan_rows(cache, rules, scan, &gathering);
	}
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
	argument = array_of((Datum *) codes, NULL, ncodes, TEXTOID);
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
			seek(&scan, cstring_to_text_with_len(target->code, target->length));
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

/*
 * products_fill reads products that are not kept, their ancestors and the categories of all; puts the codes in order.
 * as_owner: with the rights of the tables' owner.
 */
void
products_fill(PriceCache *cache, PriceRules *rules, text **codes, int ncodes, bool as_owner)
{
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
		List *level = scans ? scan_products(cache, rules, &product_scan, codes, ncodes)
							: select_products(cache, rules, codes, ncodes);
		MemoryContext old = MemoryContextSwitchTo(passing);

		fresh = scans ? merge_products(fresh, level) : list_concat(fresh, level);
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
		/* Those of parents mostly lie beside those of their variants. */
		scan_prices(cache, rules, &price_scan, fresh);
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

/*
 * products_complete links products that lie in the hoard to their categories and promotions, and reads what is missing
 * for that. Their ancestors are linked.
 */
void
products_complete(PriceCache *cache, PriceRules *rules, Product **products, int nproducts, Hoard *hoard, bool as_owner)
{
	List *unread = NIL;

	cache->loading = true;
	if (cache->everything == NULL)
		read_everything(cache, rules, as_owner);
	for (int i = 0; i < nproducts; i++)
		complete_product(cache, rules, products[i], hoard, &unread);
	if (unread != NIL)
		read_categories(cache, rules, unread, as_owner);
	cache->loading = false;
}
