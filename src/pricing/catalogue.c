/*
 * catalogue.c
 *	  catalogue_prices(): what every product costs a customer.
 *
 * To look a million products up one by one takes twenty times what reading both tables does. So the prices that can be
 * for the customer are read into a table by product, then the products one after the other find theirs in it. Where the
 * prices outgrow the memory that omnichannel.price_cache allows, those of half of the products, chosen by their hash,
 * are dropped, and the tables are read once more for them: so often that the rest fits.
 *
 * A product that none of these prices makes an answer for is asked about as quote() is: prices for others say why.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/snapmgr.h"

#include "pricing/pricing.h"
#include "pricing/rows.h"

SQL_FUNCTION(omnichannel_catalogue_prices);

/* A price in memory, and the next one of its product: nearly all fit in these few bytes. */
typedef struct CatalogueRow
{
	struct CatalogueRow *next;
	const PriceRow *whole; /* NULL: what follows is all */
	int64 id;
	int64 min_quantity; /* ticks, both */
	int64 amount;
	Span valid;
	int list;
} CatalogueRow;

#define CATALOGUE_BLOCK (64 * 1024)

/* The prices of one product; its code follows. */
typedef struct CatalogueEntry
{
	CatalogueRow *rows;
	uint32 hash;
	uint32 length;
} CatalogueEntry;

/* Products whose hash begins with these bits. */
typedef struct Part
{
	int nbits;
	uint32 bits;
} Part;

typedef struct Catalogue
{
	FunctionCallInfo fcinfo;
	PriceRules *rules;
	PriceQuestion *question;
	Datum quantity;
	MemoryContext context; /* of the prices of the part at hand */
	char *block;
	Size left;   /* of the block */
	uint32 size; /* places for entries, a power of two */
	uint32 count;
	CatalogueEntry **entries;
	Part part;
	Part later[32];
	int nlater;
	/* products that wait for their answers */
	MemoryContext passing;
	Product *products[PRODUCTS_AT_A_TIME];
	int nproducts;
} Catalogue;

static KeptPlan codes_select = {
	.sql = "SELECT array_agg(p.product ORDER BY p.product) FROM omnichannel.product p",
};

static inline bool
part_contains(const Part *part, uint32 hash)
{
	return (uint64) hash >> (32 - part->nbits) == part->bits;
}

static inline const char *
entry_code(const CatalogueEntry *entry)
{
	return (const char *) (entry + 1);
}

/* Returns the place of a product's entry, or that where it belongs. */
static CatalogueEntry **
find_entry(const Catalogue *catalogue, uint32 hash, const char *code, uint32 length)
{
	uint32 place = hash & (catalogue->size - 1);

	for (;; place = (place + 1) & (catalogue->size - 1))
	{
		CatalogueEntry *entry = catalogue->entries[place];

		if (entry == NULL ||
			(entry->hash == hash && entry->length == length && memcmp(entry_code(entry), code, length) == 0))
			return &catalogue->entries[place];
	}
}

/* Makes places for entries, in the context of the prices. */
static void
make_places(Catalogue *catalogue, uint32 size)
{
	catalogue->size = size;
	catalogue->entries = MemoryContextAllocExtended(catalogue->context, mul_size(size, sizeof(CatalogueEntry *)),
													MCXT_ALLOC_ZERO | MCXT_ALLOC_HUGE);
}

/* Enters the entries that belong to the part at hand anew, into a table of this size. */
static void
rehash(Catalogue *catalogue, uint32 size)
{
	CatalogueEntry **former = catalogue->entries;
	uint32 former_size = catalogue->size;

	make_places(catalogue, size);
	for (uint32 i = 0; i < former_size; i++)
		if (former[i] != NULL)
			*find_entry(catalogue, former[i]->hash, entry_code(former[i]), former[i]->length) = former[i];
	pfree(former);
}

/* Returns bytes in the context of the prices, without a header of their own: they go all together. */
static void *
catalogue_alloc(Catalogue *catalogue, Size size)
{
	void *bytes;

	size = MAXALIGN(size);
	if (size > CATALOGUE_BLOCK / 8)
		return MemoryContextAllocHuge(catalogue->context, size);
	if (size > catalogue->left)
	{
		catalogue->block = MemoryContextAlloc(catalogue->context, CATALOGUE_BLOCK);
		catalogue->left = CATALOGUE_BLOCK;
	}
	bytes = catalogue->block;
	catalogue->block += size;
	catalogue->left -= size;
	return bytes;
}

/* Returns a row in the context of the prices. */
static CatalogueRow *
keep_row(Catalogue *catalogue, const PriceRow *row)
{
	CatalogueRow *kept = catalogue_alloc(catalogue, sizeof(CatalogueRow));

	*kept = (CatalogueRow){NULL, NULL, row->id, row->min_quantity.ticks, row->amount.ticks, row->valid, row->list};
	if (row->adjusts != NULL || row->min_quantity.big != NULL || row->amount.big != NULL)
		kept->whole = memcpy(catalogue_alloc(catalogue, sizeof(PriceRow)), row, sizeof(PriceRow));
	return kept;
}

/* Leaves half of the part at hand for later, and drops all that was read. */
static void
halve_part(Catalogue *catalogue)
{
	Part *part = &catalogue->part;
	int i;

	if (part->nbits >= (int) lengthof(catalogue->later))
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("the prices of one product do not fit into %d kB", price_cache_size),
				 errhint("Raise omnichannel.price_cache.")));
	i = catalogue->nlater++;
	part->nbits++;
	part->bits *= 2;
	catalogue->later[i] = (Part){part->nbits, part->bits + 1};
}

/* Reads the prices of the part at hand that can be for the customer; false where they do not fit into the memory. */
static bool
read_prices(Catalogue *catalogue, LookScan *scan)
{
	const PriceQuestion *question = catalogue->question;
	Datum values[ROW_COLUMNS + 1];
	bool nulls[ROW_COLUMNS + 1];
	Size limit = (Size) price_cache_size * 1024;
	bool fits = true;

	while (fits && look_next(scan, false, values, nulls))
	{
		const PriceList *list;
		text *product;
		const char *code;
		uint32 length;
		uint32 hash;
		CatalogueEntry **place;
		PriceRow row;
		CatalogueRow *kept;

		if (nulls[ROW_PRODUCT])
			continue;
		list = price_list_find(catalogue->rules, DatumGetTextPP(values[ROW_LIST]));
		if (list == NULL || list->currency != question->currency || !BIT_TEST(question->audience->lists, list->number))
			continue;
		product = DatumGetTextPP(values[ROW_PRODUCT]);
		code = VARDATA_ANY(product);
		length = VARSIZE_ANY_EXHDR(product);
		hash = hash_bytes((const unsigned char *) code, (int) length);
		if (!part_contains(&catalogue->part, hash))
			continue;

		place = find_entry(catalogue, hash, code, length);
		if (*place == NULL)
		{
			CatalogueEntry *entry = catalogue_alloc(catalogue, sizeof(CatalogueEntry) + length);

			*entry = (CatalogueEntry){NULL, hash, length};
			memcpy(entry + 1, code, length);
			*place = entry;
			catalogue->count++;
			if (catalogue->count >= catalogue->size / 3 * 2)
			{
				rehash(catalogue, catalogue->size * 2);
				place = find_entry(catalogue, hash, code, length);
			}
		}
		price_row_read(&row, list, values, nulls, catalogue->context);
		kept = keep_row(catalogue, &row);
		kept->next = (*place)->rows;
		(*place)->rows = kept;
		fits = MemoryContextMemAllocated(catalogue->context, false) <= limit;
	}
	return fits;
}

/* Gives a product its own rows. */
static void
take_rows(const Catalogue *catalogue, Product *product, uint32 hash)
{
	CatalogueEntry *entry = *find_entry(catalogue, hash, product->target.code, product->target.length);
	int n = 0;

	if (entry == NULL)
		return;
	for (CatalogueRow *row = entry->rows; row != NULL; row = row->next)
		n++;
	product->target.rows = palloc(n * sizeof(PriceRow));
	product->target.nrows = n;
	n = 0;
	for (CatalogueRow *row = entry->rows; row != NULL; row = row->next)
		product->target.rows[n++] =
			row->whole != NULL
				? *row->whole
				: (PriceRow){row->id, row->list, NULL, {row->min_quantity, NULL}, {row->amount, NULL}, row->valid};
	if (n > 1)
		qsort(product->target.rows, n, sizeof(PriceRow), price_rows_compare);
}

/* Answers for the products that wait. */
static void
answer_products(Catalogue *catalogue)
{
	ReturnSetInfo *result = (ReturnSetInfo *) catalogue->fcinfo->resultinfo;
	PriceQuestion *question = catalogue->question;
	text *unpriced[PRODUCTS_AT_A_TIME];
	const Product *found[PRODUCTS_AT_A_TIME];
	int nunpriced = 0;
	PriceAnswer answer;

	CHECK_FOR_INTERRUPTS();
	products_link(catalogue->rules, catalogue->products, catalogue->nproducts);
	for (int i = 0; i < catalogue->nproducts; i++)
	{
		question->product = catalogue->products[i];
		price_resolve(question, &answer, NULL);
		if (answer.reason == PRICE_FOUND)
			quote_put(result, question, &answer, catalogue->quantity);
		else
			unpriced[nunpriced++] = question->product->code_text;
	}
	if (nunpriced > 0)
		products_get(catalogue->rules, unpriced, nunpriced, found);
	for (int i = 0; i < nunpriced; i++)
		if (found[i] != NULL)
		{
			question->product = found[i];
			price_resolve(question, &answer, NULL);
			quote_put(result, question, &answer, catalogue->quantity);
		}
	catalogue->nproducts = 0;
	MemoryContextReset(catalogue->passing);
}

/* Reads the products of the part at hand and answers for them. */
static void
read_products(Catalogue *catalogue, LookScan *scan)
{
	MemoryContext old = MemoryContextSwitchTo(catalogue->passing);
	Datum values[PRODUCT_COLUMNS];
	bool nulls[PRODUCT_COLUMNS];

	while (look_next(scan, false, values, nulls))
	{
		text *code = DatumGetTextPP(values[PRODUCT_CODE]);
		uint32 hash = hash_bytes((const unsigned char *) VARDATA_ANY(code), (int) VARSIZE_ANY_EXHDR(code));
		Product *product;

		if (!part_contains(&catalogue->part, hash))
			continue;
		product = product_read(catalogue->rules, values, nulls, catalogue->passing);
		take_rows(catalogue, product, hash);
		catalogue->products[catalogue->nproducts++] = product;
		if (catalogue->nproducts == PRODUCTS_AT_A_TIME)
			answer_products(catalogue);
	}
	if (catalogue->nproducts > 0)
		answer_products(catalogue);
	MemoryContextSwitchTo(old);
}

/* Opens a scan that was open before: the lock that it left keeps the table as it was. */
static void
open_again(LookScan *scan, LookUp *look)
{
	if (!look_open(scan, look, 0, GetActiveSnapshot()))
		elog(ERROR, "table \"%s\" cannot be scanned any more", look->table);
}

/* Answers for all products by scans of the tables; false where they cannot be scanned. Needs an active snapshot. */
static bool
scan_catalogue(Catalogue *catalogue)
{
	LookScan scan;

	if (!products_scannable(catalogue->rules) || !look_open(&scan, &all_prices_look, 0, GetActiveSnapshot()))
		return false;
	look_end(&scan);
	if (!look_open(&scan, &all_products_look, 0, GetActiveSnapshot()))
		return false;
	look_end(&scan);
	catalogue->passing = AllocSetContextCreate(CurrentMemoryContext, "omnichannel products", ALLOCSET_DEFAULT_SIZES);
	catalogue->later[catalogue->nlater++] = (Part){0, 0};
	while (catalogue->nlater > 0)
	{
		bool fits = false;

		catalogue->part = catalogue->later[--catalogue->nlater];
		while (!fits)
		{
			catalogue->context =
				AllocSetContextCreate(CurrentMemoryContext, "omnichannel catalogue", ALLOCSET_DEFAULT_SIZES);
			catalogue->count = 0;
			catalogue->left = 0;
			make_places(catalogue, 1024);
			open_again(&scan, &all_prices_look);
			fits = read_prices(catalogue, &scan);
			look_end(&scan);
			if (!fits)
			{
				halve_part(catalogue);
				MemoryContextDelete(catalogue->context);
			}
		}
		open_again(&scan, &all_products_look);
		read_products(catalogue, &scan);
		look_end(&scan);
		MemoryContextDelete(catalogue->context);
	}
	return true;
}

/* Answers for all products one after the other, with the reader's own rights where they are fewer. */
static void
select_catalogue(FunctionCallInfo fcinfo, Datum quantity)
{
	MemoryContext old = CurrentMemoryContext;
	Datum array = (Datum) 0;
	bool isnull;
	SpiScope scope;

	spi_scope_begin(&scope, false);
	kept_plan_run(&codes_select, NULL, NULL, true, 0);
	array = spi_datum(0, 1, &isnull);
	if (!isnull)
	{
		MemoryContext spi = MemoryContextSwitchTo(old);

		array = PointerGetDatum(DatumGetArrayTypePCopy(array));
		MemoryContextSwitchTo(spi);
	}
	spi_scope_end(&scope);
	if (!isnull)
	{
		Datum *codes;
		int ncodes;

		deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false, TYPALIGN_INT, &codes, NULL, &ncodes);
		quotes_put(fcinfo, 2, quantity, codes, NULL, ncodes);
	}
}

/* catalogue_prices(customer_id, quantity, currency, at, coupons): returns a row for each product. */
Datum
omnichannel_catalogue_prices(PG_FUNCTION_ARGS)
{
	PriceQuestion question = {.quantity = price_quantity_argument(fcinfo, 1)};
	Catalogue catalogue = {.fcinfo = fcinfo, .question = &question, .quantity = PG_GETARG_DATUM(1)};
	bool done;

	init_materialized_srf(fcinfo);
	config_caches_hold();
	for (int attempt = 0; attempt < 10; attempt++)
	{
		uint64 moved = config_caches_moved();

		if (attempt > 0)
			PopActiveSnapshot();
		catalogue.rules = price_rules_get();
		price_question_arguments(fcinfo, 2, catalogue.rules, &question);
		PushActiveSnapshot(GetTransactionSnapshot());
		if (config_caches_moved() == moved)
			break;
	}
	if (!PG_ARGISNULL(0))
		question.closed = promotions_closed(catalogue.rules, PG_GETARG_INT64(0), question.at, &question.closed_until);
	done = scan_catalogue(&catalogue);
	PopActiveSnapshot();
	config_caches_release();
	if (!done)
		select_catalogue(fcinfo, PG_GETARG_DATUM(1));
	return (Datum) 0;
}
