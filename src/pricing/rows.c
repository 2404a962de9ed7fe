/*
 * rows.c
 *	  Rows of price and product as they are read, whole tables or single ones, and what the room makes of them.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "pricing/pricing.h"
#include "pricing/rows.h"

/* As the enumerations of rows.h number them. */
static const TableColumn price_columns[] = {
	{"price_id", INT8OID},    {"price_list", TEXTOID}, {"min_quantity", NUMERICOID},
	{"amount", NUMERICOID},   {"adjust", NUMERICOID},  {"surcharge", NUMERICOID},
	{"round_to", NUMERICOID}, {"valid", TSTZRANGEOID}, {"product", TEXTOID},
};

static const TableColumn product_columns[PRODUCT_COLUMNS] = {
	{"product", TEXTOID},       {"parent", TEXTOID},     {"category", InvalidOid},  {"brand", TEXTOID},
	{"currency", TEXTOID},      {"cost", NUMERICOID},    {"min_price", NUMERICOID}, {"tax_rate", NUMERICOID},
	{"min_margin", NUMERICOID}, {"perishable", BOOLOID}, {"service", BOOLOID},
};

LookUp product_price_look = {
	.table = "price",
	.nkeys = 1,
	.keys = &price_columns[ROW_PRODUCT],
	.for_cache = true,
	.ncolumns = ROW_COLUMNS,
	.columns = price_columns,
};

LookUp category_price_look = {
	.table = "price",
	.nkeys = 1,
	.keys = (const TableColumn[]){{"category_path", TEXTOID}},
	.for_cache = true,
	.ncolumns = ROW_COLUMNS,
	.columns = price_columns,
};

LookUp list_price_look = {
	.table = "price",
	.nkeys = 1,
	.keys = &price_columns[ROW_LIST],
	.for_cache = true,
	.ncolumns = ROW_PRODUCT + 1,
	.columns = price_columns,
};

LookUp product_look = {
	.table = "product",
	.nkeys = 1,
	.for_cache = true,
	.ncolumns = PRODUCT_COLUMNS,
	.columns = product_columns,
};

LookUp all_products_look = {
	.table = "product",
	.for_cache = true,
	.as_stored = true,
	.ncolumns = PRODUCT_COLUMNS,
	.columns = product_columns,
};

/* Returns what a row makes of the base price, kept; NULL where it has an amount. */
static const PriceAdjustment *
keep_adjustment(MemoryContext context, const Datum *values, const bool *nulls)
{
	const Money hundredth = {MONEY_ONE / 100, NULL};
	PriceAdjustment *adjustment;
	MemoryContext old;
	bool present;

	if (!nulls[ROW_AMOUNT])
		return NULL;
	old = MemoryContextSwitchTo(context);
	adjustment = palloc(sizeof(PriceAdjustment));
	adjustment->factor = keep_money(values[ROW_ADJUST], nulls[ROW_ADJUST], context, &present);
	adjustment->factor = money_add(money_of_int(1), money_multiply(adjustment->factor, hundredth));
	adjustment->surcharge = keep_money(values[ROW_SURCHARGE], nulls[ROW_SURCHARGE], context, &present);
	adjustment->round_to = keep_money(values[ROW_ROUND_TO], nulls[ROW_ROUND_TO], context, &present);
	MemoryContextSwitchTo(old);
	return adjustment;
}

/* Fills a row from its columns; what does not fit in it is kept in context. */
void
price_row_read(PriceRow *row, int list, const Datum *values, const bool *nulls, MemoryContext context)
{
	bool present;

	row->id = DatumGetInt64(values[ROW_ID]);
	row->list = list;
	row->min_quantity = keep_money(values[ROW_MIN_QUANTITY], nulls[ROW_MIN_QUANTITY], context, &present);
	row->amount = keep_money(values[ROW_AMOUNT], nulls[ROW_AMOUNT], context, &present);
	row->adjusts = keep_adjustment(context, values, nulls);
	row->valid = span_from_range(values[ROW_VALID]);
}

/* Orders rows by list, then min_quantity and start, the greatest first, then id. */
int
price_rows_compare(const void *a, const void *b)
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

/* Copies a text to a place, moves that behind the zero byte put at its end, and returns it; NULL for none. */
static const char *
keep_string(const text *value, char **place)
{
	const char *kept = *place;

	if (value == NULL)
		return NULL;
	memcpy(*place, VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
	*place += VARSIZE_ANY_EXHDR(value);
	*(*place)++ = '\0';
	return kept;
}

/* Returns the product that a row tells of, in the hoard, linked to nothing yet. Its texts lie behind it. */
Product *
product_read(const PriceRules *rules, const Datum *values, const bool *nulls, Hoard *hoard)
{
	MemoryContext context = hoard->context;
	const text *texts[PRODUCT_BRAND + 1];
	Size size = sizeof(Product) + VARHDRSZ;
	Product *product;
	char *place;

	for (int i = PRODUCT_CODE; i <= PRODUCT_BRAND; i++)
	{
		texts[i] = nulls[i] ? NULL : (const text *) packed_value(values[i]);
		if (texts[i] != NULL)
			size += VARSIZE_ANY_EXHDR(texts[i]) + 1;
	}
	product = hoard_alloc(hoard, size);
	memset(product, 0, sizeof(Product));
	product->code_text = (text *) (product + 1);
	place = VARDATA(product->code_text);
	product->target.code = keep_string(texts[PRODUCT_CODE], &place);
	product->target.length = place - 1 - product->target.code;
	product->target.hash = code_hash(product->target.code, product->target.length);
	SET_VARSIZE(product->code_text, VARHDRSZ + product->target.length);
	product->parent_code = keep_string(texts[PRODUCT_PARENT], &place);
	product->category = keep_string(texts[PRODUCT_CATEGORY], &place);
	product->brand = keep_string(texts[PRODUCT_BRAND], &place);
	product->cost_currency = currency_find(rules, (const text *) packed_value(values[PRODUCT_CURRENCY]));
	product->min_price_currency = product->cost_currency;
	product->cost = keep_money(values[PRODUCT_COST], nulls[PRODUCT_COST], context, &product->has_cost);
	product->min_price =
		keep_money(values[PRODUCT_MIN_PRICE], nulls[PRODUCT_MIN_PRICE], context, &product->has_min_price);
	product->tax_rate = keep_money(values[PRODUCT_TAX_RATE], nulls[PRODUCT_TAX_RATE], context, &product->has_tax_rate);
	product->min_margin =
		keep_money(values[PRODUCT_MIN_MARGIN], nulls[PRODUCT_MIN_MARGIN], context, &product->has_min_margin);
	product->perishable = DatumGetBool(values[PRODUCT_PERISHABLE]);
	product->service = DatumGetBool(values[PRODUCT_SERVICE]);
	return product;
}

/* Returns what was kept at a place that has been copied elsewhere; NULL for none. */
static const char *
moved_string(const char *kept, const Product *from, Product *to)
{
	return kept == NULL ? NULL : (const char *) to + (kept - (const char *) from);
}

static Size
string_size(const char *kept)
{
	return kept == NULL ? 0 : strlen(kept) + 1;
}

/* Keeps an amount in context. */
static void
copy_money(Money *money, MemoryContext context)
{
	MemoryContext old;

	if (money->big == NULL)
		return;
	old = MemoryContextSwitchTo(context);
	money->big = DatumGetNumericCopy(NumericGetDatum(money->big));
	MemoryContextSwitchTo(old);
}

/* product_copy returns a copy, in the hoard, of what product_read() returned, linked to nothing. */
Product *
product_copy(const Product *product, Hoard *hoard)
{
	Size size = sizeof(Product) + VARHDRSZ + product->target.length + 1 + string_size(product->parent_code) +
				string_size(product->category) + string_size(product->brand);
	Product *copy = memcpy(hoard_alloc(hoard, size), product, size);

	copy->code_text = (text *) (copy + 1);
	copy->target.code = moved_string(product->target.code, product, copy);
	copy->parent_code = moved_string(product->parent_code, product, copy);
	copy->category = moved_string(product->category, product, copy);
	copy->brand = moved_string(product->brand, product, copy);
	copy_money(&copy->cost, hoard->context);
	copy_money(&copy->min_price, hoard->context);
	copy_money(&copy->tax_rate, hoard->context);
	copy_money(&copy->min_margin, hoard->context);
	return copy;
}

/*
 * product_inherit gives a variant what it does not have of its own. Its ancestors are linked.
 *
 * Raises 23514 where they make a circle, as nothing else here could walk them: the trigger that refuses circles can be
 * disabled.
 */
void
product_inherit(Product *product)
{
	Product *parent = product->parent;

	if (parent == NULL || product->inherited)
		return;
	check_stack_depth();
	if (product->inheriting)
		ereport(ERROR,
				(errcode(ERRCODE_CHECK_VIOLATION),
				 errmsg("the parents of product \"%s\" make a circle", text_to_cstring(product->code_text)),
				 errhint("Give one of them another parent, or none.")));
	product->inheriting = true;
	product_inherit(parent);
	product->inherited = true;
	if (product->category == NULL)
		product->category = parent->category;
	if (product->brand == NULL)
		product->brand = parent->brand;
	/* The currency goes with the amount that it is of. */
	if (!product->has_cost)
	{
		product->cost = parent->cost;
		product->has_cost = parent->has_cost;
		product->cost_currency = parent->cost_currency;
	}
	if (!product->has_min_price)
	{
		product->min_price = parent->min_price;
		product->has_min_price = parent->has_min_price;
		product->min_price_currency = parent->min_price_currency;
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
