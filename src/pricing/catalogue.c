/*
 * catalogue.c
 *	  catalogue_prices(): what every product costs a customer.
 *
 * To look a million products up one by one takes twenty times what reading both tables does. So the prices that can be
 * for the customer are read into a book (book.c), then the products one after the other find theirs in it. Where the
 * prices outgrow the memory that omnichannel.price_cache or work_mem allows, those of half of the products, chosen by
 * their hash, are dropped, and the tables are read once more for them: so often that the rest fits.
 *
 * Parents of variants lie anywhere in the table. Where the book holds the prices of all products, parents are kept
 * when they are met, and variants that come before wait for them; otherwise they are found as quote() finds them.
 *
 * A product that none of these prices makes an answer for is asked about as quote() is: prices for others say why.
 *
 * All is read under the snapshot that the call begins with, also what goes through the session's cache meanwhile.
 */
#include "postgres.h"

#include <math.h>

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "pricing/book.h"
#include "pricing/pricing.h"
#include "pricing/rows.h"

SQL_FUNCTION(omnichannel_catalogue_prices);

/* Products whose hash begins with these bits. */
typedef struct Part
{
	int nbits;
	uint32 bits;
} Part;

/* A product that others are variants of; its code follows. */
typedef struct Parent
{
	Product *product; /* NULL until it is read, and its own parent */
} Parent;

/* A variant that was read before its parent. */
typedef struct Waiting
{
	struct Waiting *next;
	Product *product;
} Waiting;

/* Products that are looked for among the parents at a time. */
#define SETTLED_AHEAD 16

/* What products that are answered for together take mostly, kept for the next ones. */
#define PASSING_BYTES (1024 * 1024)

typedef struct Catalogue
{
	FunctionCallInfo fcinfo;
	PriceRules *rules;
	struct PriceCache *cache; /* held; NULL where the tables are not to be scanned */
	PriceQuestion *question;
	Datum quantity;
	Size limit;            /* of the memory of the book */
	const PriceList *list; /* of the row of price at hand; NULL where it cannot be for the customer */
	PriceBook book;        /* of the part at hand */
	bool fits;             /* it has not outgrown the limit */
	MemoryContext parents_context;
	Hoard parents_hoard;
	CodeMap parents;     /* to Parent */
	CodeMap categories;  /* as they are stored, to their texts */
	bool has_categories; /* they are kept: their values have a length of their own */
	Parent *last_parent; /* found last, or NULL */
	bool full;           /* no more of them are kept */
	Waiting *waiting;
	Waiting **last_waiting;
	Part part;
	Part later[32];
	int nlater;
	/* products that were read, then those of them that wait for their answers, in the same places */
	MemoryContext passing;
	Hoard hoard; /* in it */
	Product *products[PRODUCTS_AT_A_TIME];
	int nproducts;
} Catalogue;

/* Of lists that can be for the customer. */
static KeptPlan prices_select = {
	.sql = "SELECT " PRICE_COLUMNS ", r.product FROM omnichannel.price r WHERE r.price_list = ANY ($1)",
	.nargs = 1,
	.argtypes = {TEXTARRAYOID},
	.long_lasting = true,
};

static KeptPlan parents_select = {
	.sql = "SELECT p.parent FROM omnichannel.product p WHERE p.parent IS NOT NULL",
};

static KeptPlan codes_select = {
	.sql = "SELECT array_agg(p.product ORDER BY p.product) FROM omnichannel.product p",
};

static inline bool
part_contains(const Part *part, uint32 hash)
{
	return (uint64) hash >> (32 - part->nbits) == part->bits;
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
				 errmsg("the prices of one product do not fit into %zu kB", catalogue->limit / 1024),
				 errhint("Raise omnichannel.price_cache or work_mem.")));
	i = catalogue->nlater++;
	part->nbits++;
	part->bits *= 2;
	catalogue->later[i] = (Part){part->nbits, part->bits + 1};
}

/* Opens a scan that was open before: the lock that it left keeps the table as it was. */
static void
open_again(LookScan *scan, LookUp *look)
{
	if (!look_open(scan, look, 0, GetActiveSnapshot()))
		elog(ERROR, "table \"%s\" cannot be scanned any more", look->table);
}

/* Returns whether a list can be for the customer. */
static bool
list_fits(const PriceQuestion *question, const PriceList *list)
{
	return list->currency == question->currency && BIT_TEST(question->audience->lists, list->number);
}

/* Sets the list of the row of price at hand. */
static void
find_list(Catalogue *catalogue, text *code)
{
	const PriceRules *rules = catalogue->rules;
	int number = price_list_find(rules, code);

	catalogue->list =
		number >= 0 && list_fits(catalogue->question, &rules->lists[number]) ? &rules->lists[number] : NULL;
}

/* Takes a row of price, if its list can be for the customer and its product is of the part at hand. */
static bool
take_price(void *arg, const Datum *values, const bool *nulls)
{
	Catalogue *catalogue = arg;
	PriceBook *book = &catalogue->book;
	text *code = DatumGetTextPP(values[ROW_LIST]);
	const PriceList *list = catalogue->list;
	text *product;
	uint32 length;
	uint32 hash;
	PriceRow row;

	/* Rows of a list mostly come one after the other. */
	if (list == NULL || VARSIZE_ANY_EXHDR(code) != VARSIZE_ANY_EXHDR(list->code_text) ||
		!bytes_equal(VARDATA_ANY(code), list->code, VARSIZE_ANY_EXHDR(code)))
	{
		find_list(catalogue, code);
		list = catalogue->list;
	}
	if (nulls[ROW_PRODUCT] || list == NULL)
		return true;
	product = DatumGetTextPP(values[ROW_PRODUCT]);
	length = VARSIZE_ANY_EXHDR(product);
	hash = code_hash(VARDATA_ANY(product), length);
	if (!part_contains(&catalogue->part, hash))
		return true;
	price_row_read(&row, list->number, values, nulls, book->context);
	price_book_add(book, VARDATA_ANY(product), length, hash, &row);
	catalogue->fits = MemoryContextMemAllocated(book->context, false) <= catalogue->limit;
	return catalogue->fits;
}

/* Reads the prices of the part at hand that can be for the customer; false where they do not fit into the memory. */
static bool
read_prices(Catalogue *catalogue)
{
	const PriceRules *rules = catalogue->rules;
	const PriceQuestion *question = catalogue->question;
	Datum *codes = palloc(Max(rules->nlists, 1) * sizeof(Datum));
	int ncodes = 0;
	Datum argument;
	SpiScope scope;

	for (int i = 0; i < rules->nlists; i++)
		if (list_fits(question, &rules->lists[i]))
			codes[ncodes++] = PointerGetDatum(rules->lists[i].code_text);
	argument = array_of(codes, NULL, ncodes, TEXTOID);
	catalogue->fits = true;
	if (!look_send(&list_price_look, argument, GetActiveSnapshot(), take_price, catalogue))
	{
		spi_scope_begin(&scope, true);
		kept_plan_send(&prices_select, &argument, take_price, catalogue);
		spi_scope_end(&scope);
	}
	price_book_flush(&catalogue->book);
	return catalogue->fits;
}

/* Notes that a product has variants. */
static bool
take_parent(void *arg, const Datum *values, const bool *nulls)
{
	Catalogue *catalogue = arg;
	text *code = DatumGetTextPP(values[0]);
	uint32 length = VARSIZE_ANY_EXHDR(code);
	uint32 hash = code_hash(VARDATA_ANY(code), length);
	Parent *parent;

	/* To look whether it is known costs less than to have the statement give each once. */
	if (code_map_get_hashed(&catalogue->parents, VARDATA_ANY(code), length, hash) != NULL)
		return true;
	parent = hoard_alloc(&catalogue->parents_hoard, sizeof(Parent) + length);
	parent->product = NULL;
	code_map_put_hashed(&catalogue->parents, memcpy(parent + 1, VARDATA_ANY(code), length), length, hash, parent);
	return true;
}

/* Returns what is known of a product as the parent of others, or NULL where there are none. */
static Parent *
find_own(Catalogue *catalogue, const char *code, uint32 length, uint32 hash)
{
	Parent *own = code_map_get_hashed(&catalogue->parents, code, length, hash);

	if (own != NULL)
		catalogue->last_parent = own;
	return own;
}

/* Does the same for the parent of a variant: variants often come together, and behind it. */
static Parent *
find_parent(Catalogue *catalogue, const char *code, uint32 length)
{
	Parent *last = catalogue->last_parent;

	if (last != NULL && last->product != NULL && last->product->target.length == length &&
		memcmp(last->product->target.code, code, length) == 0)
		return last;
	return find_own(catalogue, code, length, code_hash(code, length));
}

/* Readies the place for parents. */
static void
open_parents(Catalogue *catalogue)
{
	catalogue->parents_context =
		AllocSetContextCreate(CurrentMemoryContext, "omnichannel parents", ALLOCSET_DEFAULT_SIZES);
	catalogue->parents_hoard = (Hoard){catalogue->parents_context};
	code_map_init(&catalogue->parents, catalogue->parents_context, 16);
	code_map_init(&catalogue->categories, catalogue->parents_context, 16);
	catalogue->last_waiting = &catalogue->waiting;
}

/* Notes which products have variants. */
static void
note_parents(Catalogue *catalogue)
{
	SpiScope scope;

	spi_scope_begin(&scope, true);
	kept_plan_send(&parents_select, NULL, take_parent, catalogue);
	spi_scope_end(&scope);
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
	RowForm form = {0};

	CHECK_FOR_INTERRUPTS();
	price_book_take_all(&catalogue->book, catalogue->products, catalogue->nproducts, &catalogue->hoard);
	products_link(catalogue->cache, catalogue->rules, catalogue->products, catalogue->nproducts, &catalogue->hoard);
	for (int i = 0; i < catalogue->nproducts; i++)
	{
		question->product = catalogue->products[i];
		price_resolve(question, &answer, NULL);
		if (answer.reason == PRICE_FOUND)
			quote_put(result, &form, question, &answer, catalogue->quantity);
		else
			unpriced[nunpriced++] = question->product->code_text;
	}
	if (nunpriced > 0)
		products_get_held(catalogue->cache, catalogue->rules, unpriced, nunpriced, found);
	for (int i = 0; i < nunpriced; i++)
		if (found[i] != NULL)
		{
			question->product = found[i];
			price_resolve(question, &answer, NULL);
			quote_put(result, &form, question, &answer, catalogue->quantity);
		}
	catalogue->nproducts = 0;
	MemoryContextReset(catalogue->passing);
	catalogue->hoard = (Hoard){catalogue->passing};
}

/*
 * Lets a product wait for its answer; its parent is known by now. own tells its variants of it, where it has some: not
 * where its parent is not kept, which is linked in the session's cache for this answer, and may be gone by the next.
 */
static void
put_product(Catalogue *catalogue, Product *product, Parent *own)
{
	if (own != NULL && product->hoard != NULL && (product->parent != NULL || product->parent_code == NULL))
		own->product = product;
	catalogue->products[catalogue->nproducts++] = product;
	if (catalogue->nproducts == PRODUCTS_AT_A_TIME)
		answer_products(catalogue);
}

/* Notes whether parents and categories take what they may. */
static void
note_full(Catalogue *catalogue)
{
	catalogue->full = MemoryContextMemAllocated(catalogue->parents_context, false) > (Size) price_cache_size * 1024;
}

/* Lets a product that was read wait for its answer, or for its parent. What others need is kept. */
static void
settle_product(Catalogue *catalogue, Product *product)
{
	const char *above = product->parent_code;
	Parent *parent = NULL;
	Parent *own;
	bool waits;

	if (above != NULL)
		parent = find_parent(catalogue, above, strlen(above));
	own = find_own(catalogue, product->target.code, product->target.length, product->target.hash);
	waits = parent != NULL && parent->product == NULL && !catalogue->full;
	if (waits || (own != NULL && !catalogue->full))
	{
		product = product_copy(product, &catalogue->parents_hoard);
		product->hoard = &catalogue->parents_hoard;
		note_full(catalogue);
	}
	if (waits)
	{
		*catalogue->last_waiting = hoard_alloc(&catalogue->parents_hoard, sizeof(Waiting));
		**catalogue->last_waiting = (Waiting){NULL, product};
		catalogue->last_waiting = &(*catalogue->last_waiting)->next;
		return;
	}
	product->parent = parent == NULL ? NULL : parent->product;
	put_product(catalogue, product, own);
}

/*
 * Settles the products that were read, so many, and answers for those that do not wait for their parents.
 *
 * Where they are looked for among the parents is memory to be waited for: they are read first and settled together.
 */
static void
settle_products(Catalogue *catalogue, int nread)
{
	for (int i = 0; i < Min(nread, SETTLED_AHEAD); i++)
		code_map_prefetch(&catalogue->parents, catalogue->products[i]->target.hash);
	for (int i = 0; i < nread; i++)
	{
		if (i + SETTLED_AHEAD < nread)
			code_map_prefetch(&catalogue->parents, catalogue->products[i + SETTLED_AHEAD]->target.hash);
		settle_product(catalogue, catalogue->products[i]);
	}
	answer_products(catalogue);
}

/* Answers for the variants that came before their parents, those of variants after them. */
static void
take_waiting(Catalogue *catalogue)
{
	bool found = true;

	while (catalogue->waiting != NULL)
	{
		Waiting **place = &catalogue->waiting;

		/* A parent that was not kept is found as quote() does. */
		catalogue->full |= !found;
		found = false;
		while (*place != NULL)
		{
			Product *product = (*place)->product;
			const PriceTarget *target = &product->target;
			const Parent *parent = find_parent(catalogue, product->parent_code, strlen(product->parent_code));

			if (parent->product == NULL && !catalogue->full)
			{
				place = &(*place)->next;
				continue;
			}
			found = true;
			*place = (*place)->next;
			product->parent = parent->product;
			put_product(catalogue, product, find_own(catalogue, target->code, target->length, target->hash));
		}
	}
}

/*
 * Returns a category as text. Many products are of one: to look for what is stored takes a quarter of what it takes to
 * make a text of it.
 */
static Datum
category_text(Catalogue *catalogue, Datum stored)
{
	const struct varlena *packed;
	const char *bytes;
	uint32 length;
	uint32 hash;
	text *path;

	if (!catalogue->has_categories)
		return look_text(&all_products_look, PRODUCT_CATEGORY, stored);
	packed = packed_value(stored);
	bytes = VARDATA_ANY(packed);
	length = VARSIZE_ANY_EXHDR(packed);
	hash = code_hash(bytes, length);
	path = code_map_get_hashed(&catalogue->categories, bytes, length, hash);
	if (path == NULL)
	{
		path = DatumGetTextPP(look_text(&all_products_look, PRODUCT_CATEGORY, stored));
		if (!catalogue->full)
		{
			Hoard *hoard = &catalogue->parents_hoard;

			path = memcpy(hoard_alloc(hoard, VARSIZE_ANY(path)), path, VARSIZE_ANY(path));
			bytes = memcpy(hoard_alloc(hoard, length), bytes, length);
			code_map_put_hashed(&catalogue->categories, bytes, length, hash, path);
			note_full(catalogue);
		}
	}
	return PointerGetDatum(path);
}

/* Reads the products of the part at hand and answers for them. */
static void
read_products(Catalogue *catalogue)
{
	Datum values[PRODUCT_COLUMNS];
	bool nulls[PRODUCT_COLUMNS];
	int nread = 0;
	LookScan scan;
	Form_pg_attribute category;
	MemoryContext old;

	open_again(&scan, &all_products_look);
	category = TupleDescAttr(RelationGetDescr(scan.table), all_products_look.attributes[PRODUCT_CATEGORY] - 1);
	catalogue->has_categories = category->attlen == -1;
	old = MemoryContextSwitchTo(catalogue->passing);
	while (look_next(&scan, false, values, nulls))
	{
		text *code = DatumGetTextPP(values[PRODUCT_CODE]);

		if (catalogue->part.nbits > 0 &&
			!part_contains(&catalogue->part, code_hash(VARDATA_ANY(code), VARSIZE_ANY_EXHDR(code))))
			continue;
		if (!nulls[PRODUCT_CATEGORY])
			values[PRODUCT_CATEGORY] = category_text(catalogue, values[PRODUCT_CATEGORY]);
		catalogue->products[nread++] = product_read(catalogue->rules, values, nulls, &catalogue->hoard);
		if (nread == PRODUCTS_AT_A_TIME)
		{
			settle_products(catalogue, nread);
			nread = 0;
		}
	}
	settle_products(catalogue, nread);
	take_waiting(catalogue);
	answer_products(catalogue);
	MemoryContextSwitchTo(old);
	look_end(&scan);
}

/* Bytes of an answer, at least. */
#define ANSWER_BYTES 80

/*
 * Has answers that will not fit into work_mem written to a file from the first one on. What is kept in memory until it
 * is full is written in the end too, and cools the processor's cache on its way.
 */
static void
expect_answers(ReturnSetInfo *result, double expected)
{
	MemoryContext old;

	if (expected * ANSWER_BYTES < (double) work_mem * 1024)
		return;
	old = MemoryContextSwitchTo(result->econtext->ecxt_per_query_memory);
	tuplestore_end(result->setResult);
	result->setResult = tuplestore_begin_heap((result->allowedModes & SFRM_Materialize_Random) != 0, false, 64);
	MemoryContextSwitchTo(old);
}

/* Answers for all products by scans of the tables; false where they cannot be scanned. Needs an active snapshot. */
static bool
scan_catalogue(Catalogue *catalogue)
{
	double expected; /* products */
	LookScan scan;

	if (catalogue->cache == NULL || !look_open(&scan, &all_products_look, 0, GetActiveSnapshot()))
		return false;
	expected = scan.table->rd_rel->reltuples;
	look_end(&scan);
	catalogue->passing = AllocSetContextCreate(CurrentMemoryContext, "omnichannel products", PASSING_BYTES,
											   PASSING_BYTES, PASSING_BYTES);
	catalogue->hoard = (Hoard){catalogue->passing};
	catalogue->limit = Max((Size) price_cache_size, (Size) (work_mem * hash_mem_multiplier)) * 1024;
	open_parents(catalogue);
	expect_answers((ReturnSetInfo *) catalogue->fcinfo->resultinfo, expected);
	/* What is expected must leave room for what there is. */
	expected = Min(expected, catalogue->limit / sizeof(BookSlot) / 8);
	catalogue->later[catalogue->nlater++] = (Part){0, 0};
	while (catalogue->nlater > 0)
	{
		MemoryContext context;
		bool fits = false;

		catalogue->part = catalogue->later[--catalogue->nlater];
		while (!fits)
		{
			context = AllocSetContextCreate(CurrentMemoryContext, "omnichannel catalogue", ALLOCSET_DEFAULT_SIZES);
			price_book_open(&catalogue->book, context, ldexp(expected, -catalogue->part.nbits), catalogue->limit);
			fits = read_prices(catalogue);
			if (!fits)
			{
				halve_part(catalogue);
				MemoryContextDelete(context);
			}
		}
		if (catalogue->part.nbits == 0)
			note_parents(catalogue);
		read_products(catalogue);
		MemoryContextDelete(context);
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
		if (!PG_ARGISNULL(0))
			question.closed =
				promotions_closed(catalogue.rules, PG_GETARG_INT64(0), question.at, NULL, &question.closed_until);
		catalogue.cache = products_hold(catalogue.rules);
		PushActiveSnapshot(GetTransactionSnapshot());
		if (config_caches_stand(moved, true))
			break;
	}
	done = scan_catalogue(&catalogue);
	PopActiveSnapshot();
	config_caches_release();
	if (!done)
		select_catalogue(fcinfo, PG_GETARG_DATUM(1));
	return (Datum) 0;
}
